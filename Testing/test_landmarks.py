"""Pose from landmarks: exact points give the pose back, and what cannot be known is said."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.landmarks import Sighting, landmark_errors_mm, pose_from_landmarks

CARM = {
    "source_to_detector_mm": 1020.0,
    "source_to_isocenter_mm": 700.0,
    "pixel_spacing_mm": [0.5, 0.4],
    "image_size_px": [640, 512],
    "principal_point_px": [300.0, 270.0],
}
OFFSET = np.array([200.0, -100.0, 50.0])  # CTs are seldom centred about their origin
FRONTAL = view_from_carm(CARM)
LATERAL = view_from_carm({**CARM, "primary_angle_deg": 90.0})


def random_pose(rng: np.random.Generator) -> Pose:
    """Any rotation, and a shift."""
    vector = rng.normal(size=3)
    vector *= rng.uniform(0, np.pi) / np.linalg.norm(vector)
    return Pose.from_parts(rotation_from_vector(vector), rng.normal(0, 30, 3))


def seen(points, pose, view, indices=None, noise_px=0.0, rng=None) -> Sighting:
    indices = tuple(range(len(points))) if indices is None else tuple(indices)
    pixels, _ = view.project_points(pose.apply(points[list(indices)]))
    if noise_px:
        pixels = pixels + rng.normal(0, noise_px, pixels.shape)
    return Sighting(view, indices, pixels)


@pytest.mark.parametrize("count", [5, 6, 10])
@pytest.mark.parametrize("seed", range(6))
def test_exact_landmarks_give_any_pose_back(count, seed):
    rng = np.random.default_rng([count, seed])
    points, pose = rng.uniform(-80, 80, (count, 3)) + OFFSET, random_pose(rng)
    pose = Pose.from_parts(pose.rotation, pose.translation_mm - pose.rotation @ OFFSET)
    found = pose_from_landmarks(points, [seen(points, pose, FRONTAL)])
    np.testing.assert_allclose(found.pose.apply(points), pose.apply(points), atol=1e-4)  # the fit ends at 1e-8 relative
    assert found.rms_mm < 1e-5
    assert not found.ambiguous


@pytest.mark.parametrize("seed", range(6))
def test_four_landmarks_give_the_pose_back_or_call_it_ambiguous(seed):
    rng = np.random.default_rng([4, seed])
    points, pose = rng.uniform(-80, 80, (4, 3)), random_pose(rng)
    found = pose_from_landmarks(points, [seen(points, pose, FRONTAL)])
    assert found.ambiguous or np.allclose(found.pose.apply(points), pose.apply(points), atol=1e-3)


def test_two_views_of_different_landmarks_are_taken_together():
    rng = np.random.default_rng(1)
    points, pose = rng.uniform(-80, 80, (6, 3)), random_pose(rng)
    sightings = [seen(points, pose, FRONTAL, (0, 1, 2, 3)), seen(points, pose, LATERAL, (2, 3, 4, 5))]
    found = pose_from_landmarks(points, sightings)
    np.testing.assert_allclose(found.pose.apply(points), pose.apply(points), atol=1e-4)
    assert [len(errors) for errors in found.errors_mm] == [4, 4]


def test_two_views_resolve_the_depth_that_one_leaves_uncertain():
    rng = np.random.default_rng(2)
    depth = {}
    for name, views in {"one": [FRONTAL], "two": [FRONTAL, LATERAL]}.items():
        errors = []
        for _ in range(8):
            points, pose = rng.uniform(-60, 60, (8, 3)), random_pose(rng)
            found = pose_from_landmarks(points, [seen(points, pose, view, noise_px=2, rng=rng) for view in views])
            errors.append(abs((found.pose.apply(points) - pose.apply(points)).mean(axis=0) @ FRONTAL.axes[:, 2]))
        depth[name] = np.median(errors)
    assert depth["two"] < 0.3 * depth["one"]


def test_errors_are_in_millimetres_at_the_landmark():
    points = np.array([[0.0, 0.0, 0.0], [0.0, 100.0, 0.0]])  # at the isocentre, and 100 mm nearer to the source
    sighting = seen(points, Pose.identity(), FRONTAL)
    moved = Sighting(FRONTAL, sighting.indices, sighting.pixels + np.array([10, 0]))
    (errors,) = landmark_errors_mm(Pose.identity(), points, [moved])
    np.testing.assert_allclose(errors, 10 * 0.4 * np.array([700, 600]) / 1020)


def test_too_few_landmarks_and_landmarks_on_a_line_are_refused():
    points = np.random.default_rng(0).uniform(-80, 80, (3, 3))
    with pytest.raises(InputError, match=r"3 landmarks are paired .* at least 4"):
        pose_from_landmarks(points, [seen(points, Pose.identity(), FRONTAL)])
    line = np.outer(np.arange(5.0), (20, 10, 5))
    with pytest.raises(InputError, match="on a line"):
        pose_from_landmarks(line, [seen(line, Pose.identity(), FRONTAL)])
    same = np.zeros((5, 3))
    with pytest.raises(InputError, match="on a line"):
        pose_from_landmarks(same, [seen(same, Pose.identity(), FRONTAL)])


def test_swapped_landmarks_show_in_the_error():
    rng = np.random.default_rng(3)
    points, pose = rng.uniform(-80, 80, (6, 3)), random_pose(rng)
    sighting = seen(points, pose, FRONTAL)
    swapped = Sighting(FRONTAL, (1, 0, *sighting.indices[2:]), sighting.pixels)
    assert pose_from_landmarks(points, [swapped]).rms_mm > 5


def markups(scene, name, points_ras, labels=None):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for index, point in enumerate(points_ras):
        node.AddControlPoint(*point, labels[index] if labels else "")
    return node


@pytest.fixture
def placed():
    """A scene with a CT under a pose, an X-ray, landmarks of the CT and those that the X-ray shows of them."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    from mrml_nodes import new_scene, rigid, transform_node, xray_node
    from XrayCTRegistrationLib.mrml.poses import set_pose

    scene = new_scene()
    scene.RegisterNodeClass(slicer.vtkMRMLMarkupsFiducialNode())
    scene.RegisterNodeClass(slicer.vtkMRMLMarkupsFiducialDisplayNode())
    pixels = np.arange(640 * 512, dtype=np.float32).reshape(512, 640)
    xray = xray_node(scene, view=FRONTAL, pixels=pixels)
    rng = np.random.default_rng(5)
    points, pose = rng.uniform(-60, 60, (6, 3)), Pose(rigid((0.3, -0.2, 0.5), (10, -5, 20)))
    node = transform_node(scene, "pose", np.eye(4))
    set_pose(node, Pose(rigid((0, 0.1, 0), (1, 2, 3))))
    return scene, xray, node, points, pose


def test_markups_placed_in_ct_and_xray_give_the_pose(placed):
    from XrayCTRegistrationLib.mrml.landmarks import ct_landmarks, follow_ct, sighting_of
    from XrayCTRegistrationLib.mrml.poses import pose_of, set_pose

    scene, xray, pose_node, points, pose = placed
    where_ct_stands = pose_of(pose_node).apply(points) * (-1, -1, 1)
    in_ct = markups(scene, "CT landmarks", where_ct_stands)
    follow_ct(in_ct, pose_node)  # from now on they move with it
    np.testing.assert_allclose(in_ct.GetNthControlPointPositionWorld(2), where_ct_stands[2], atol=1e-6)
    set_pose(pose_node, Pose.identity())
    back, labels = ct_landmarks(in_ct, pose_node)
    np.testing.assert_allclose(back, points, atol=1e-6)
    pixels, _ = FRONTAL.project_points(pose.apply(points))
    halfway = 0.5 * (FRONTAL.source + FRONTAL.detector_points(pixels))  # anywhere on the ray will do
    in_xray = markups(scene, "X-ray landmarks", halfway * (-1, -1, 1))
    found = pose_from_landmarks(back, [sighting_of(in_xray, xray, labels)])
    np.testing.assert_allclose(found.pose.apply(points), pose.apply(points), atol=1e-3)


def test_markups_are_paired_by_common_labels_or_else_by_place(placed):
    from XrayCTRegistrationLib.mrml.landmarks import sighting_of

    scene, xray, _, points, pose = placed
    detector = FRONTAL.detector_points(FRONTAL.project_points(pose.apply(points))[0]) * (-1, -1, 1)
    ct_labels = [f"L{k}" for k in range(6)]
    some = markups(scene, "labelled", detector[[4, 1]], ["L4", "L1"])
    assert sighting_of(some, xray, ct_labels).indices == (4, 1)
    in_order = markups(scene, "unlabelled", detector, [f"F{k}" for k in range(6)])
    assert sighting_of(in_order, xray, ct_labels).indices == (0, 1, 2, 3, 4, 5)
    fewer = markups(scene, "fewer", detector[:3], ["a", "b", "c"])
    with pytest.raises(InputError, match="fewer: 3 landmarks in the X-ray and 6 in the CT cannot be paired"):
        sighting_of(fewer, xray, ct_labels)
