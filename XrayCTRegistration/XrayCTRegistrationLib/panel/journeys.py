# ruff: noqa: PT009  (unittest, since 3D Slicer has no pytest)
"""What a person does with the panel, as tests that run inside 3D Slicer: by the real widgets, on the sample."""

from __future__ import annotations

import json
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qt
import SimpleITK as sitk
import slicer

from ..geometry import view_to_carm
from ..mrml.bone_transforms import in_ct
from ..mrml.frames import lps_points
from ..mrml.overlay import edge_points
from ..mrml.poses import place_of, pose_of
from ..mrml.report import kept_report
from ..mrml.results import kept_result
from ..mrml.tables import results_table
from ..mrml.volumes import fill_volume
from ..mrml.xrays import view_of
from ..state import finished
from . import dependencies
from .choices import Method

_LIMIT_S = 120.0  # for one registration, on a slow machine
_ONE_PIXEL_MM = 0.8  # of the sample


class Journeys(unittest.TestCase):
    """Each journey begins with an empty scene."""

    def setUp(self) -> None:
        if not dependencies.are_installed():
            self.skipTest("torch, numba or cma are not installed: press Register in the panel once")
        slicer.mrmlScene.Clear()
        self.widget = slicer.util.getModuleWidget("XrayCTRegistration")
        self.widget.enter()
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self.selection = self.panel.selection

    def tearDown(self) -> None:
        self.panel.runner.abandon()
        slicer.mrmlScene.Clear()

    def test_nothing_chosen(self) -> None:
        """Register is disabled, and its tooltip says why."""
        self.assertFalse(self.ui.registerButton.enabled)
        self.assertIn("CT", self.ui.registerButton.toolTip)

    def test_sample_is_registered(self) -> None:
        """The sample, registered, lands on its X-rays; the figures of the result say so."""
        self._load_sample()
        before = self.selection.pose
        self._register()
        result = kept_result(self.selection.pose_node)
        self.assertEqual(result.confidence, "high")
        self.assertGreater(result.similarity, result.similarity_before)
        self.assertAlmostEqual(result.moved_mm, self._shift_mm(before, self.selection.pose), places=3)
        self.assertIn("High", self.ui.confidenceLabel.text)
        self.assertEqual(kept_report(self.selection.pose_node)["similarity"], result.similarity)
        self._until(lambda: self.ui.saveReportButton.enabled)  # once the CT is ready to be drawn
        self.assertEqual(results_table(self.selection.parameters.parameterNode).GetNumberOfRows(), 1)
        # The sample's pose is written in mrml.sample: 14 mm to the left, 10 mm forward, 18 mm down.
        place = place_of(self.selection.pose, self.selection.inputs.ct.center, self.selection.inputs.isocenter)
        np.testing.assert_allclose(place.shift_mm, (14, -10, -18), atol=_ONE_PIXEL_MM)

    def test_initial_pose(self) -> None:
        """Sliders and presets move the CT, and the sliders show where it stands."""
        self._load_sample()
        self.ui.shiftLeftSlider.value = 25
        self.ui.turnSuperiorSlider.value = -30
        place = place_of(self.selection.pose, self.selection.inputs.ct.center, self.selection.inputs.isocenter)
        np.testing.assert_allclose(place.shift_mm, (25, 0, 0), atol=1e-6)
        np.testing.assert_allclose(place.turn_deg, (0, 0, -30), atol=1e-6)
        self.ui.presetAnglesButton.click()
        self.assertAlmostEqual(self.ui.shiftLeftSlider.value, 0)
        self.ui.presetLateralButton.click()  # the first X-ray is frontal: the patient turns by a quarter
        self.assertAlmostEqual(abs(self.ui.turnSuperiorSlider.value), 90)

    def test_edges_follow_the_ct(self) -> None:
        """The overlay changes as the CT moves, by whatever moves it, and stands at the detector."""
        self._load_sample()
        xray = self.selection.xray_nodes[0]
        self._until(lambda: len(edge_points(xray)) > 0)
        before = edge_points(xray)
        self.ui.shiftSuperiorSlider.value = 20
        self._until(lambda: not np.array_equal(before, edge_points(xray)))
        view = view_of(xray)
        depths = (lps_points(edge_points(xray)) - view.source) @ view.axes[:, 2]
        np.testing.assert_allclose(depths, view.source_to_detector_mm, atol=1.0)  # just before and behind it

    def test_undo_and_redo(self) -> None:
        """Undo leads back to the pose before the registration, Redo to its result; the start can be restored."""
        self._load_sample()
        before = self.selection.pose
        self._register(Method.GRADIENT)  # the quickest; any change of the pose will do
        after = self.selection.pose
        self.ui.undoButton.click()
        self._assert_same(self.selection.pose, before)
        self.ui.redoButton.click()
        self._assert_same(self.selection.pose, after)
        self.ui.restoreInitialPoseButton.click()
        self._assert_same(self.selection.pose, before)

    def test_cancel_keeps_the_best_pose(self) -> None:
        """Cancel ends the registration at once, and the CT stands at the best pose so far."""
        self._load_sample()
        self.ui.registerButton.click()
        session = self.panel.runner.session
        self._until(lambda: session.state is not None and session.state.similarity > 0)
        self.assertEqual(self.ui.registerButton.text, "Cancel")
        self.ui.registerButton.click()
        self.assertFalse(self.selection.running)
        self._assert_same(self.selection.pose, session.pose)
        self.assertTrue(self.ui.registerButton.enabled)

    def test_an_input_is_deleted_meanwhile(self) -> None:
        """Deleting the CT while registering ends the registration without an error."""
        self._load_sample()
        self.ui.registerButton.click()
        pose_node = self.selection.pose_node
        self._until(lambda: self.panel.runner.session.state is not None)
        slicer.mrmlScene.RemoveNode(self.selection.ct_node)
        self._until(lambda: not self.selection.running)
        self.assertIsNotNone(pose_node.GetScene())
        self.assertFalse(self.ui.registerButton.enabled)

    def test_scene_is_closed_meanwhile(self) -> None:
        """Closing the scene while registering leaves an empty panel that can be used again."""
        self._load_sample()
        self.ui.registerButton.click()
        self._until(lambda: self.panel.runner.session.state is not None)
        slicer.mrmlScene.Clear()
        self.assertFalse(self.selection.running)
        self.widget.enter()
        self.assertFalse(self.ui.registerButton.enabled)
        self._load_sample()
        self.assertTrue(self.ui.registerButton.enabled)

    def test_scene_round_trip(self) -> None:
        """Saved and loaded again, the scene has inputs, geometry, pose, settings and result."""
        self._load_sample()
        self._register(Method.GRADIENT)
        self.selection.parameters.seed = 7
        pose, views = self.selection.pose, [view_of(node) for node in self.selection.xray_nodes]
        result, confidence = kept_result(self.selection.pose_node), self.ui.confidenceLabel.text
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "registered.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(path)
        self.widget.enter()
        self.assertEqual(self.selection.problem, "")
        self._assert_same(self.selection.pose, pose)
        self.assertEqual(self.selection.parameters.seed, 7)
        self.assertEqual(kept_result(self.selection.pose_node), result)
        for node, view in zip(self.selection.xray_nodes, views, strict=True):
            np.testing.assert_allclose(view_of(node).source, view.source, atol=1e-6)
            np.testing.assert_allclose(view_of(node).pixel_to_world, view.pixel_to_world, atol=1e-6)
        self.assertEqual(self.ui.confidenceLabel.text, confidence)
        self.assertTrue(self.ui.registerButton.enabled)

    def test_bad_input(self) -> None:
        """Whatever cannot be registered disables the button, with the reason in its tooltip."""
        self._load_sample()
        xrays = self.selection.xray_nodes
        self.selection.choose_xrays([xrays[0], self.selection.ct_node])
        self._assert_refused("this is the CT")
        stack = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "stack")
        fill_volume(stack, np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
        self.selection.choose_xrays([xrays[0], stack])
        self._assert_refused("has 2 slices")
        flat = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "bare image")
        fill_volume(flat, np.arange(12, dtype=np.int16).reshape(1, 3, 4), np.eye(4))
        self.selection.choose_xrays([xrays[0], flat])
        self._assert_refused("source to detector")
        self.selection.choose_xrays(xrays[:1])
        self.assertEqual(self.selection.problem, "")
        matrix = np.diag([1.0, 1.0, 1.2, 1.0])
        slicer.util.updateTransformMatrixFromArray(self.selection.pose_node, matrix)
        self._assert_refused("not rigid")

    def test_geometry_is_edited(self) -> None:
        """A geometry that cannot be says why and disables Register; correcting it helps."""
        self._load_sample()
        self.ui.sourceToDetectorSpinBox.value = 600  # before the isocentre
        self._assert_refused("must be larger")
        self.ui.sourceToIsocenterSpinBox.value = 400
        self.assertEqual(self.selection.problem, "")
        self.assertAlmostEqual(view_of(self.selection.xray_nodes[0]).source_to_detector_mm, 600)
        self.assertEqual(self.ui.sourceToDetectorOriginLabel.text, "user")

    def test_undo_of_an_edit(self) -> None:
        """Undo takes back an edit of the geometry, and Redo brings it again."""
        self._load_sample()
        for button, expected in ((None, 1050), (self.ui.undoButton, 1020), (self.ui.redoButton, 1050)):
            if button is None:
                self.ui.sourceToDetectorSpinBox.value = expected
            else:
                button.click()
            self.assertAlmostEqual(view_of(self.selection.xray_nodes[0]).source_to_detector_mm, expected)

    def test_xray_files(self) -> None:
        """Files numbered beside each other become X-rays, one each, with the geometry that lies beside them."""
        self._load_sample()
        first = self.selection.xray_nodes[0]
        carm = view_to_carm(view_of(first))
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"image_{number}.nrrd" for number in range(2)]
            for path in paths:
                sitk.WriteImage(sitk.GetImageFromArray(slicer.util.arrayFromVolume(first)[0]), str(path))
                path.with_suffix(".json").write_text(json.dumps(carm), encoding="utf-8")
            self.selection.choose_xrays([])
            self.panel.images.take_files(paths)
        self.assertEqual([node.GetName() for node in self.selection.xray_nodes], ["image_0", "image_1"])
        self.assertEqual(self.selection.problem, "")
        for node in self.selection.xray_nodes:
            np.testing.assert_allclose(view_of(node).source, view_of(first).source, atol=1e-6)

    def test_one_bone(self) -> None:
        """A vertebra that moved on its own is checked in the segmentation, found, undone and brought again."""
        from ..mrml.sample import bones_steps  # which needs torch, as the test does

        sample = finished(bones_steps(slicer.mrmlScene))
        self.selection.choose(sample.ct_node, sample.xray_nodes)
        self.ui.segmentationSelector.setCurrentNode(sample.segmentation_node)
        self._until(lambda: self.ui.segmentsListWidget.count)
        self._check("L3")
        self._until(lambda: self.selection.problem == "" and self.selection.bones.standing)
        self._register()
        (bone,) = self.selection.bones.standing
        self.assertEqual(bone.node.GetName(), "L3")
        self.assertIs(bone.node.GetParentTransformNode(), self.selection.pose_node)
        true = sample.true_pose @ sample.motions["L3"]
        apart, whole = (pose.apply(bone.center) - true.apply(bone.center) for pose in (bone.pose, self.selection.pose))
        self.assertLess(np.linalg.norm(apart), _ONE_PIXEL_MM)
        self.assertGreater(np.linalg.norm(whole), 2 * _ONE_PIXEL_MM)  # one pose for all is wrong
        self.assertEqual(self.ui.boneResultsTable.rowCount, 1)
        self.ui.undoButton.click()
        np.testing.assert_allclose(in_ct(bone.node), np.eye(4).ravel(), atol=1e-9)
        self.ui.redoButton.click()
        self._assert_same_pose(self.selection.bones.standing[0].pose, bone.pose)

    def _check(self, name: str) -> None:
        """Check a segment of the list, as by hand."""
        widget = self.ui.segmentsListWidget
        for row in range(widget.count):
            if widget.item(row).text() == name:
                widget.item(row).setCheckState(qt.Qt.Checked)

    def _load_sample(self) -> None:
        self.ui.loadSampleButton.click()
        self.assertEqual(self.selection.problem, "")
        self.assertEqual(len(self.selection.xray_nodes), 2)

    def _register(self, method: Method = Method.AUTO) -> None:
        self.selection.parameters.method = method
        self.ui.registerButton.click()
        self.assertTrue(self.selection.running)
        self._until(lambda: not self.selection.running)

    def _until(self, condition: Callable[[], Any]) -> None:
        """Run the event loop until something is so."""
        end = time.monotonic() + _LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), end, "it took too long")
            slicer.app.processEvents()

    def _assert_refused(self, reason: str) -> None:
        self.assertFalse(self.ui.registerButton.enabled)
        self.assertIn(reason, self.ui.registerButton.toolTip)

    def _assert_same_pose(self, pose: Any, expected: Any) -> None:
        np.testing.assert_allclose(pose.matrix, expected.matrix, atol=1e-6)

    def _assert_same(self, pose: Any, expected: Any) -> None:
        self._assert_same_pose(pose, expected)
        np.testing.assert_allclose(pose_of(self.selection.pose_node).matrix, expected.matrix, atol=1e-6)

    def _shift_mm(self, first: Any, second: Any) -> float:
        center = self.selection.inputs.ct.center
        return float(np.linalg.norm(first.apply(center) - second.apply(center)))
