# ruff: noqa: PT009, PT027  (unittest, since 3D Slicer has no pytest)
"""The module used from a script, without its panel, inside 3D Slicer."""

import unittest

import numpy as np
import slicer


class XrayCTRegistrationScriptTest(unittest.TestCase):
    """Sample, geometry, registration, cancel and bad input through the module's logic."""

    def setUp(self):
        from XrayCTRegistrationLib.panel import dependencies

        if not dependencies.are_installed():
            self.skipTest("torch, numba or cma are not installed: press Register in the panel once")
        slicer.mrmlScene.Clear()
        self.logic = slicer.util.getModuleLogic("XrayCTRegistration")

    def test_registers_the_sample(self):
        from XrayCTRegistrationLib.mrml.poses import pose_of

        sample = self.logic.loadSample()
        result = self.logic.register(sample.ct_node, sample.xray_nodes)
        pose_node = sample.ct_node.GetParentTransformNode()
        np.testing.assert_allclose(pose_of(pose_node).matrix, result.pose.matrix, atol=1e-9)
        center = np.zeros(3)  # the sample is centred about its own origin
        error_mm = np.linalg.norm(result.pose.apply(center) - sample.true_pose.apply(center))
        self.assertLess(error_mm, 0.8)  # one pixel
        self.assertEqual(result.confidence.level, "high")

    def test_cancels_when_progress_says_so(self):
        sample = self.logic.loadSample()
        states = []

        def progress(state):
            states.append(state)
            return len(states) < 5

        result = self.logic.register(sample.ct_node, sample.xray_nodes, progress=progress, method="cmaes")
        self.assertIsNone(result)
        self.assertEqual(len(states), 5)

    def test_starts_at_a_given_transform(self):
        from XrayCTRegistrationLib.mrml.poses import pose_of, set_pose

        sample = self.logic.loadSample()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
        set_pose(transform, sample.true_pose)
        self.logic.register(sample.ct_node, sample.xray_nodes, transform, method="gradient")
        self.assertEqual(sample.ct_node.GetTransformNodeID(), transform.GetID())
        np.testing.assert_allclose(pose_of(transform).matrix, sample.true_pose.matrix, atol=0.5)

    def test_says_what_is_wrong(self):
        sample = self.logic.loadSample()
        with self.assertRaisesRegex(ValueError, "at least one X-ray"):
            self.logic.register(sample.ct_node, [])
        with self.assertRaisesRegex(ValueError, "no method"):
            self.logic.register(sample.ct_node, sample.xray_nodes, method="magic")

    def test_geometry_by_entries(self):
        sample = self.logic.loadSample()
        self.logic.setGeometry(sample.xray_nodes[0], {"source_to_detector_mm": 1200.0})
        from XrayCTRegistrationLib.mrml.xrays import view_of

        self.assertAlmostEqual(view_of(sample.xray_nodes[0]).source_to_detector_mm, 1200.0)


if __name__ == "__main__":
    unittest.main()
