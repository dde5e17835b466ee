"""Journeys through the panel's first sections: images chosen, geometry shown with its origins and edited."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panel_case import CARM, add_case, choose_case, choose_xrays, xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def test_load_sample_chooses_a_ct_and_two_xrays_ready_to_register(host):
    from XrayCTRegistrationLib.mrml.display import as_registered_node

    host.press(host.ui.loadSampleButton)
    host.wait(lambda: host.ui.registerButton.enabled)
    host.wait(lambda: host.scene.GetSingletonNode("Xray2", "vtkMRMLSliceNode") is not None)
    assert host.ui.ctSelector.currentNode().GetName() == "Lumbar spine CT"
    assert [node.GetName() for node in xrays(host)] == ["Frontal X-ray", "Lateral X-ray"]
    assert host.ui.sourceToDetectorSpinBox.value == 1020
    assert host.ui.sourceToDetectorOriginLabel.text == "sample"
    assert host.ui.ctSelector.currentNode().GetParentTransformNode() is host.ui.poseSelector.currentNode()
    for tag, node in zip(("Xray1", "Xray2"), xrays(host)):
        slice_node = host.scene.GetSingletonNode(tag, "vtkMRMLSliceNode")
        host.wait(slice_node.GetSliceVisible)  # at its detector in 3D
        assert _composite(tag).GetBackgroundVolumeID() == as_registered_node(node).GetID()
    assert not host.messages.shown


def test_an_xray_fills_its_view_again_after_it_was_zoomed(host):
    choose_case(host)
    host.idle(0.2)
    slice_node = host.scene.GetSingletonNode("Xray1", "vtkMRMLSliceNode")
    fitted = slice_node.GetFieldOfView()
    slice_node.SetFieldOfView(*(0.1 * side for side in fitted[:2]), 1.0)
    host.press(host.ui.fitViewsButton)
    assert slice_node.GetFieldOfView() == pytest.approx(fitted)


def test_selectors_offer_images_but_not_what_shows_them(host):
    """An X-ray as it is registered is a volume, too: nobody should choose it as an X-ray."""
    from XrayCTRegistrationLib.mrml.display import as_registered_node

    case = choose_case(host)
    assert all(as_registered_node(node).IsA("vtkMRMLScalarVolumeNode") for node in case.xray_nodes)
    selector = host.ui.addXraySelector
    offered = {selector.nodeFromIndex(index).GetID() for index in range(selector.nodeCount())}
    assert offered == {node.GetID() for node in (case.ct_node, *case.xray_nodes)}


def test_geometry_entered_by_hand_places_the_xray_at_its_detector(host):
    case = choose_case(host, views=1, geometry=False)
    node, ui = case.xray_nodes[0], host.ui
    assert ui.sourceToDetectorOriginLabel.text == "needed"
    assert not ui.registerButton.enabled
    assert "geometry" in ui.registerButton.toolTip
    ui.sourceToDetectorSpinBox.value = CARM["source_to_detector_mm"]
    ui.sourceToIsocenterSpinBox.value = CARM["source_to_isocenter_mm"]
    ui.rowSpacingSpinBox.value = ui.columnSpacingSpinBox.value = CARM["pixel_spacing_mm"][0]
    assert ui.registerButton.enabled, ui.registerButton.toolTip
    assert ui.sourceToDetectorOriginLabel.text == "user"
    matrix = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(node))
    middle = matrix @ (*((np.array(node.GetImageData().GetDimensions()[:2]) - 1) / 2), 0, 1)
    np.testing.assert_allclose(middle[:3], (0, 320, 0), atol=1e-6)  # PA: the detector is anterior of the isocentre


def test_an_edited_angle_turns_detector_and_beam(host):
    case = choose_case(host, views=1)
    before = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(case.xray_nodes[0]))
    host.ui.primaryAngleSpinBox.value = 30
    after = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(case.xray_nodes[0]))
    cosine = before[:3, 0] @ after[:3, 0] / np.linalg.norm(before[:3, 0]) / np.linalg.norm(after[:3, 0])
    assert np.degrees(np.arccos(cosine)) == pytest.approx(30, abs=1e-4)
    assert host.ui.primaryAngleOriginLabel.text == "user"


def test_the_geometry_of_each_view_is_shown_in_turn(host):
    choose_case(host)
    combo = host.ui.geometryViewComboBox
    assert [combo.itemText(index) for index in range(combo.count)] == ["X-ray 1", "X-ray 2"]
    combo.currentIndex = 1
    assert host.ui.primaryAngleSpinBox.value == 90


def test_a_carm_file_is_read_and_named_as_the_origin(host, tmp_path):
    case = choose_case(host, views=1, geometry=False)
    size = list(case.xray_nodes[0].GetImageData().GetDimensions()[:2])
    path = tmp_path / "carm.json"
    path.write_text(json.dumps({**CARM, "image_size_px": size, "primary_angle_deg": 20}), encoding="utf-8")
    host.ui.carmPathLineEdit.currentPath = str(path)
    assert host.ui.primaryAngleSpinBox.value == pytest.approx(20)
    assert host.ui.primaryAngleOriginLabel.text == "carm.json"
    assert host.ui.registerButton.enabled


def test_the_cameras_of_an_autoscoper_trial_are_read_as_carm_files(host, tmp_path):
    """One of each version of MayaCam, each for the frame of its own camera; the trial itself is told what to give."""
    from dataset_files import write_trial
    from XrayCTRegistrationLib.mrml.xrays import view_of

    trial = write_trial(tmp_path / "trial")
    section = host.panel.panel.images
    section.take_files([trial.folder / f"XMA_UND/cam0{number}/UND.0001.png" for number in (1, 2)])
    points = trial.true.apply(trial.ct.corners())
    for number, (node, name, expected) in enumerate(zip(xrays(host), ("cam01.txt", "cam02.csv"), trial.views)):
        host.ui.geometryViewComboBox.currentIndex = number
        host.ui.carmPathLineEdit.currentPath = str(trial.folder / "Calibration" / name)
        pixels, wanted = (view.project_points(points)[0] for view in (view_of(node), expected))
        np.testing.assert_allclose(pixels, wanted, atol=1e-4)
    host.ui.carmPathLineEdit.currentPath = str(trial.folder / "wrist.cfg")
    assert "wrist.cfg" in host.ui.geometryMessageLabel.text
    assert "mayaCam_csv" in host.ui.geometryMessageLabel.text


class Database:
    """Stands for slicer.dicomDatabase: one file of one instance."""

    def __init__(self, uid, path):
        self._files = {uid: str(path)}

    def fileForInstance(self, uid):
        return self._files.get(uid, "")


def test_dicom_tags_fill_in_the_geometry_and_are_named(host, tmp_path, monkeypatch):
    path = tmp_path / "xa.dcm"
    write_tags(path, DistanceSourceToDetector=1020, DistanceSourceToPatient=700, ImagerPixelSpacing=[3.0, 3.0])
    monkeypatch.setattr(slicer, "dicomDatabase", Database("1.2.3", path), raising=False)
    case = add_case(host, views=1, geometry=False)
    case.xray_nodes[0].SetAttribute("DICOM.instanceUIDs", "1.2.3")
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    choose_xrays(host, case.xray_nodes[0])
    assert host.ui.sourceToDetectorSpinBox.value == 1020
    assert host.ui.sourceToDetectorOriginLabel.text == "DICOM (0018,1110)"
    assert host.ui.registerButton.enabled
    host.ui.sourceToDetectorSpinBox.value = 1000
    assert host.ui.sourceToDetectorOriginLabel.text == "user"
    host.press(host.ui.readDicomButton)
    assert host.ui.sourceToDetectorSpinBox.value == 1020


def write_tags(path, **values):
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = pydicom.Dataset()
    for keyword, value in {"Modality": "XA", **values}.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.save_as(path, enforce_file_format=True)


def test_typical_values_are_labelled_as_such(host):
    choose_case(host, views=1, geometry=False)
    host.press(host.ui.typicalGeometryButton)
    assert host.ui.registerButton.enabled
    assert "typical" in host.ui.sourceToDetectorOriginLabel.text


def test_views_show_each_xray_with_its_edges_and_stand_it_in_3d(host):
    from XrayCTRegistrationLib.mrml.display import as_registered_node
    from XrayCTRegistrationLib.mrml.overlay import edge_points, overlay_node

    case = choose_case(host)
    host.wait(lambda: all(len(edge_points(node)) for node in case.xray_nodes))
    for tag, node in zip(("Xray1", "Xray2"), case.xray_nodes):
        slice_node = host.scene.GetSingletonNode(tag, "vtkMRMLSliceNode")
        assert _composite(tag).GetBackgroundVolumeID() == as_registered_node(node).GetID()
        assert slice_node.GetSliceVisible()
        in_slices = overlay_node(node).GetNthDisplayNode(1)
        assert in_slices.GetVisibility()
        assert in_slices.GetViewNodeIDs() == (slice_node.GetID(),)
    models = slicer.util.getNodesByClass("vtkMRMLModelNode")
    assert sum("beam" in model.GetName().lower() for model in models) == 2


def test_a_tick_shows_the_pixels_as_they_are_stored(host):
    from XrayCTRegistrationLib.mrml.display import as_registered_node

    case = choose_case(host)
    for stored in (True, False):
        host.ui.storedPixelsCheckBox.checked = stored
        shown = [_composite(tag).GetBackgroundVolumeID() for tag in ("Xray1", "Xray2")]
        assert shown == [(node if stored else as_registered_node(node)).GetID() for node in case.xray_nodes]


def test_nodes_that_are_renamed_keep_their_place(host):
    case = add_case(host)
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    case.ct_node.SetName("renamed")
    assert host.ui.ctSelector.currentNode() is case.ct_node


def _ijk_to_ras(node):
    from vtk import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def _composite(tag):
    return slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLSliceCompositeNode")
