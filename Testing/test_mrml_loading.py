"""X-ray files become single images, each with the geometry that lies beside it; stacks are taken apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from mrml_nodes import CARM, new_scene, volume_node
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.xray import Polarity

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.geometry import entries_of  # noqa: E402
from XrayCTRegistrationLib.mrml.loading import (  # noqa: E402
    carm_files_beside,
    is_xray_file,
    load_xrays,
    split_stack,
    stack_as_run,
)
from XrayCTRegistrationLib.mrml.sequences import browser_of, frames_of  # noqa: E402
from XrayCTRegistrationLib.mrml.volumes import voxels  # noqa: E402
from XrayCTRegistrationLib.mrml.xrays import file_of, has_geometry, radiograph_of, view_of  # noqa: E402

COLUMNS, ROWS = CARM["image_size_px"]
PIXELS = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS)


@pytest.fixture
def scene():
    return new_scene()


def written(path, pixels=PIXELS, spacing=(1.0, 1.0)):
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing((*spacing, *[1.0] * (image.GetDimension() - 2)))
    sitk.WriteImage(image, str(path))
    return path


def write_carm(path, **changes):
    path.write_text(json.dumps({**CARM, **changes}))
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "mha", "nrrd", "nii.gz"])
def test_numbered_files_beside_each_other_are_images_of_their_own(scene, tmp_path, ending):
    paths = [written(tmp_path / f"case_{number}.{ending}", PIXELS + number) for number in range(2)]
    loaded = load_xrays(scene, paths)
    assert loaded.problems == ()
    assert [node.GetName() for node in loaded.nodes] == ["case_0", "case_1"]
    for number, node in enumerate(loaded.nodes):
        assert voxels(node).dtype == np.uint16
        np.testing.assert_array_equal(voxels(node), PIXELS[None] + number)
        assert node.GetClassName() == "vtkMRMLScalarVolumeNode"


def test_a_grey_jpeg_saved_with_colour_channels_is_a_scalar_image(scene, tmp_path):
    path = tmp_path / "a.jpg"
    sitk.WriteImage(sitk.GetImageFromArray(np.repeat(PIXELS[..., None], 3, axis=2).astype(np.uint8), True), str(path))
    (node,) = load_xrays(scene, [path]).nodes
    assert voxels(node).shape == (1, ROWS, COLUMNS)
    assert np.abs(voxels(node)[0] - PIXELS.astype(float)).max() < 8  # JPEG loses a little


def test_the_json_of_the_images_name_places_it(scene, tmp_path):
    write_carm(tmp_path / "ap.json")
    write_carm(tmp_path / "carm.json", primary_angle_deg=0.0)
    (node,) = load_xrays(scene, [written(tmp_path / "ap.png")]).nodes
    np.testing.assert_allclose(view_of(node).world_to_pixel, view_from_carm(CARM).world_to_pixel, atol=1e-9)
    assert entries_of(node)["source_to_detector_mm"].origin == "ap.json"


@pytest.mark.parametrize("name", ["carm.json", "geometry.json"])
def test_a_shared_json_counts_only_for_the_one_image_of_its_folder(scene, tmp_path, name):
    carm = write_carm(tmp_path / name)
    first = written(tmp_path / "ap.png")
    assert carm_files_beside(first) == [carm]
    assert has_geometry(load_xrays(scene, [first]).nodes[0])
    second = written(tmp_path / "lateral.png")  # two views cannot stand at one place
    loaded = load_xrays(scene, [first, second])
    assert not any(has_geometry(node) for node in loaded.nodes)
    assert loaded.problems == ()


def test_a_json_that_does_not_fit_is_told_and_the_image_kept(scene, tmp_path):
    write_carm(tmp_path / "ap.json", image_size_px=[90, 70])
    loaded = load_xrays(scene, [written(tmp_path / "ap.png")])
    assert len(loaded.nodes) == 1
    assert not has_geometry(loaded.nodes[0])
    assert len(loaded.problems) == 1
    assert loaded.problems[0].startswith("ap.json: the geometry is of an image of 90 x 70 pixels")


def test_a_file_that_is_no_image_adds_nothing_and_the_others_load(scene, tmp_path):
    (tmp_path / "bad.png").write_text("not an image")
    before = scene.GetNumberOfNodes()
    alone = load_xrays(scene, [tmp_path / "bad.png", tmp_path / "absent.png"])
    assert scene.GetNumberOfNodes() == before
    assert [problem.partition(":")[0] for problem in alone.problems] == ["bad.png", "absent.png"]
    loaded = load_xrays(scene, [tmp_path / "bad.png", written(tmp_path / "good.png")])
    assert [node.GetName() for node in loaded.nodes] == ["good"]
    assert len(loaded.problems) == 1


def test_the_spacing_of_a_detector_comes_from_medical_headers_only(scene, tmp_path):
    spaced, printed = load_xrays(
        scene, [written(tmp_path / "a.mha", spacing=(0.3, 0.4)), written(tmp_path / "b.png", spacing=(0.3, 0.4))]
    ).nodes
    assert entries_of(spaced)["pixel_spacing_mm"].value == pytest.approx([0.4, 0.3])  # between rows, columns
    assert "pixel_spacing_mm" not in entries_of(printed)


def write_dicom(path, frames=1, **tags):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = XRayAngiographicImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PhotometricInterpretation = "XA", "MONOCHROME2"
    data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    if frames > 1:
        data.NumberOfFrames = frames
    data.PixelData = np.stack([PIXELS + 100 * number for number in range(frames)]).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def test_dicom_tags_say_geometry_and_polarity(scene, tmp_path):
    path = write_dicom(tmp_path / "xa.dcm", DistanceSourceToDetector=1000, PixelIntensityRelationship="LOG")
    (node,) = load_xrays(scene, [path]).nodes
    assert entries_of(node)["source_to_detector_mm"].value == 1000
    radiograph = radiograph_of(node)
    assert (radiograph.polarity, radiograph.logarithmic) == (Polarity.DARK, True)


def test_a_json_stands_before_dicom_tags(scene, tmp_path):
    write_carm(tmp_path / "xa.json")
    (node,) = load_xrays(scene, [write_dicom(tmp_path / "xa.dcm", DistanceSourceToDetector=1234)]).nodes
    assert entries_of(node)["source_to_detector_mm"].value == pytest.approx(CARM["source_to_detector_mm"])


def test_a_file_of_frames_becomes_a_stack_that_splits_into_images_with_what_is_known_of_them(scene, tmp_path):
    path = write_dicom(tmp_path / "run.dcm", frames=12, DistanceSourceToDetector=1000, PixelIntensityRelationship="LIN")
    (stack,) = load_xrays(scene, [path]).nodes
    assert voxels(stack).shape == (12, ROWS, COLUMNS)
    with pytest.raises(InputError, match=r"run: the volume has 12 slices, .* Split it into single images"):
        radiograph_of(stack)
    split = split_stack(stack)
    assert [node.GetName() for node in split.nodes][::11] == ["run 01", "run 12"]
    for number, node in enumerate(split.nodes):
        np.testing.assert_array_equal(radiograph_of(node).pixels, PIXELS + 100 * number)
        assert radiograph_of(node).polarity is Polarity.DARK
        assert entries_of(node)["source_to_detector_mm"].value == 1000
    assert voxels(stack).shape[0] == 12  # untouched


def test_a_stack_becomes_a_run_whose_frames_are_registered(scene, tmp_path):
    (stack,) = load_xrays(scene, [write_dicom(tmp_path / "run.dcm", 3, PixelIntensityRelationship="LIN")]).nodes
    shown = stack_as_run(stack)
    frames = frames_of(shown)
    assert len(frames) == 3
    for number, frame in enumerate(frames):
        radiograph = radiograph_of(frame)
        np.testing.assert_array_equal(radiograph.pixels, PIXELS + 100 * number)
        assert radiograph.polarity is Polarity.DARK
    assert browser_of(shown).GetProxyNode(browser_of(shown).GetMasterSequenceNode()) is shown


def test_a_stack_of_slicers_own_reader_is_split_by_its_files_and_finds_their_geometry(scene, tmp_path):
    """Numbered names beside each other load as one volume, unless the reader is told that the file is single."""
    paths = [written(tmp_path / f"case_{number}.mha", PIXELS + number) for number in range(2)]
    write_carm(tmp_path / "case_1.json")
    logic = slicer.vtkSlicerVolumesLogic()
    logic.SetMRMLScene(scene)
    colors = slicer.vtkMRMLColorLogic()
    application = slicer.vtkMRMLApplicationLogic()
    application.SetColorLogic(colors)
    application.SetModuleLogic("Colors", colors)
    logic.SetMRMLApplicationLogic(application)
    stack = logic.AddArchetypeVolume(str(paths[0]), "case", 0)
    assert stack.GetImageData().GetDimensions()[2] == 2
    split = split_stack(stack)
    assert split.problems == ()
    assert [file_of(node) for node in split.nodes] == paths
    assert [node.GetName() for node in split.nodes] == ["case_0", "case_1"]
    assert [has_geometry(node) for node in split.nodes] == [False, True]
    assert radiograph_of(split.nodes[1]).pixels[0, 0] == 1


def test_a_stack_with_colours_or_without_voxels_is_refused_by_name(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(InputError, match="nothing: the volume is empty"):
        split_stack(empty)
    with pytest.raises(InputError, match="nothing: the volume is empty"):
        stack_as_run(empty)


def test_a_slice_of_an_oblique_stack_keeps_its_spacing(scene):
    stack = volume_node(scene, "stack", np.stack([PIXELS, PIXELS + 1]), np.diag([-0.3, -0.4, 2.0, 1.0]))
    assert entries_of(split_stack(stack).nodes[1])["pixel_spacing_mm"].value == pytest.approx([0.4, 0.3])


def test_files_are_told_apart_by_name_and_by_content(tmp_path):
    assert all(is_xray_file(tmp_path / name) for name in ("a.PNG", "b.tiff", "c.jpg", "d.dcm", "e.mhd", "f.nii.gz"))
    assert not any(is_xray_file(tmp_path / name) for name in ("carm.json", "pose.tfm", "absent", "notes.txt"))
    assert is_xray_file(write_dicom(tmp_path / "IM0001"))
