"""Scene bundles, read by the MRML library of 3D Slicer itself."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector
from XrayCTRegistrationLib.io import scene as scene_module
from XrayCTRegistrationLib.io.scene import SceneView, slice_to_ras, write_scene
from XrayCTRegistrationLib.volume import Volume

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
ROUNDING_MM = 1e-10  # Slicer splits a matrix into spacing and directions and inverts it: some 1e-13 of 1000 mm
SIZE_PX = (7, 5)  # columns, rows
POSE = Pose.from_parts(rotation_from_vector(np.array([0.4, -1.1, 2.0])), np.array([12.5, -80.0, 1 / 3]))


def _ct(mirrored: bool = False, dtype: type = np.int16) -> Volume:
    """A small CT with different sizes, spacings and values everywhere, oblique."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array([1.0, 0.3, -0.5])) @ np.diag([0.7, 0.8, 1.5])
    matrix[:3, 2] *= -1 if mirrored else 1
    matrix[:3, 3] = 100.5, -200.25, 900.125
    values = np.random.default_rng(0).permutation(np.arange(-1024, 1024, dtype=dtype))[:60]
    return Volume(values.reshape(3, 4, 5), matrix)


def _view(kind: str = "plain", seed: int = 0) -> XrayView:
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(random.normal(size=3))
    source = matrix[:3, 2] * -600 + random.normal(size=3)
    matrix[:3, 3] = matrix[:3, 2] * 500 + random.normal(size=3)
    columns, rows = {
        "plain": (0.3, 0.3),
        "mirrored": (-0.3, 0.3),
        "non-square": (0.2, 0.9),
        "skewed": (0.3, 0.3),
    }[kind]
    matrix[:3, 0] *= columns
    matrix[:3, 1] *= rows
    if kind == "skewed":
        matrix[:3, 1] += 2e-3 * matrix[:3, 0]
    return XrayView(source, matrix, SIZE_PX)


def _scene_view(name: str = "AP", kind: str = "plain", seed: int = 0, dtype: type = np.uint16) -> SceneView:
    random = np.random.default_rng(seed + 10)
    shape = SIZE_PX[::-1]
    image = random.integers(0, 120, shape).astype(dtype)
    return SceneView(name, _view(kind, seed), image, random.integers(0, 256, (*shape, 3)).astype(np.uint8))


def _node(scene, name: str):
    found = scene.GetNodesByName(name)
    assert found.GetNumberOfItems() == 1, name
    return found.GetItemAsObject(0)


def _matrix(getter) -> np.ndarray:
    from vtk import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    getter(matrix)
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def _voxels(volume_node) -> np.ndarray:
    """(slices, rows, columns, components), as the node holds them."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = volume_node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*image.GetDimensions()[::-1], -1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_every_ct_voxel_stands_where_the_pose_puts_it(open_scene, tmp_path, mirrored):
    ct = _ct(mirrored)
    write_scene(tmp_path / "result.mrb", ct, POSE, [])
    node = _node(open_scene(tmp_path / "result.mrb"), "CT")

    np.testing.assert_array_equal(_voxels(node)[..., 0], ct.array)
    to_world = _matrix(node.GetParentTransformNode().GetMatrixTransformToWorld)
    voxels = np.array([(0, 0, 0, 1), (4, 0, 0, 1), (0, 3, 0, 1), (4, 3, 2, 1)]).T
    expected = FLIP @ POSE.matrix @ ct.ijk_to_world @ voxels
    np.testing.assert_allclose(to_world @ _matrix(node.GetIJKToRASMatrix) @ voxels, expected, rtol=0, atol=ROUNDING_MM)


def test_the_pose_is_the_linear_transform_node_that_carries_the_ct_and_can_be_saved(open_scene, tmp_path):
    write_scene(tmp_path / "result.mrb", _ct(), POSE, [])
    scene = open_scene(tmp_path / "result.mrb")
    transform = _node(scene, "CT to world")
    assert transform.IsA("vtkMRMLLinearTransformNode")
    assert _node(scene, "CT").GetTransformNodeID() == transform.GetID()
    assert transform.GetStorageNode().GetFileName().endswith("CT_to_world.tfm")
    to_parent = _matrix(transform.GetMatrixTransformToParent)
    np.testing.assert_allclose(to_parent, FLIP @ POSE.matrix @ FLIP, rtol=0, atol=ROUNDING_MM)


def test_the_ct_shows_bone_and_the_overlay_its_true_colours(open_scene, tmp_path):
    write_scene(tmp_path / "result.mrb", _ct(), POSE, [_scene_view("AP")])
    scene = open_scene(tmp_path / "result.mrb")
    ct, overlay = _node(scene, "CT").GetDisplayNode(), _node(scene, "AP overlay").GetDisplayNode()
    assert not ct.GetAutoWindowLevel()
    assert (ct.GetWindow(), ct.GetLevel()) == (1000, 400)
    assert not overlay.GetAutoWindowLevel()
    assert (overlay.GetWindow(), overlay.GetLevel()) == (255, 127.5)
    assert _node(scene, "AP").GetDisplayNode().GetAutoWindowLevel()


def test_hounsfield_units_are_rounded_and_kept_within_int16(open_scene, tmp_path):
    ct = Volume(np.array([-1e6, -1000.4, 0.6, 1e6], dtype=np.float32).reshape(1, 2, 2), np.eye(4))
    write_scene(tmp_path / "result.mrb", ct, POSE, [])
    voxels = _voxels(_node(open_scene(tmp_path / "result.mrb"), "CT"))
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels.ravel(), [-32768, -1000, 1, 32767])


@pytest.mark.parametrize("kind", ["plain", "mirrored", "non-square", "skewed"])
def test_xray_and_overlay_pixels_stand_on_the_detector(open_scene, tmp_path, kind):
    item = _scene_view("AP", kind)
    write_scene(tmp_path / "result.mrb", _ct(), POSE, [item])
    scene = open_scene(tmp_path / "result.mrb")
    for name in ("AP", "AP overlay"):
        node = _node(scene, name)
        assert node.GetParentTransformNode() is None
        ijk_to_ras = _matrix(node.GetIJKToRASMatrix)
        np.testing.assert_allclose(ijk_to_ras, FLIP @ item.view.pixel_to_world, rtol=0, atol=ROUNDING_MM)
    np.testing.assert_array_equal(_voxels(_node(scene, "AP"))[0, ..., 0], item.image)


@pytest.mark.parametrize("isocenter", [None, np.array([1.5, -20.25, 1 / 3])])
def test_the_panel_knows_the_geometry_of_every_xray(open_scene, tmp_path, isocenter):
    from XrayCTRegistrationLib.mrml.xrays import view_of

    item = _scene_view("AP")
    view = XrayView(item.view.source, item.view.pixel_to_world, item.view.size_px, isocenter)
    write_scene(tmp_path / "result.mrb", _ct(), POSE, [SceneView("AP", view, item.image, item.overlay_rgb)])
    loaded = view_of(_node(open_scene(tmp_path / "result.mrb"), "AP"))
    np.testing.assert_allclose(loaded.source, view.source, rtol=0, atol=ROUNDING_MM)
    np.testing.assert_allclose(loaded.pixel_to_world[:, [0, 1, 3]], view.pixel_to_world[:, [0, 1, 3]], atol=ROUNDING_MM)
    if isocenter is None:
        assert loaded.isocenter is None
    else:
        np.testing.assert_allclose(loaded.isocenter, isocenter, rtol=0, atol=ROUNDING_MM)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.dtype(">u2"), np.int32, np.float32, np.float64])
def test_raw_pixels_keep_their_type_and_values(open_scene, tmp_path, dtype):
    item = _scene_view(dtype=dtype)
    write_scene(tmp_path / "result.mrb", _ct(), POSE, [item])
    voxels = _voxels(_node(open_scene(tmp_path / "result.mrb"), "AP"))
    assert voxels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(voxels[0, ..., 0], item.image)


def test_the_overlay_is_rgb_with_the_bytes_given(open_scene, tmp_path):
    item = _scene_view("AP")
    write_scene(tmp_path / "result.mrb", _ct(), POSE, [item])
    node = _node(open_scene(tmp_path / "result.mrb"), "AP overlay")
    assert node.IsA("vtkMRMLVectorVolumeNode")
    assert node.GetVoxelVectorType() == node.VoxelVectorTypeColorRGB
    assert node.GetDisplayNode().IsA("vtkMRMLVectorVolumeDisplayNode")
    assert _voxels(node).dtype == np.uint8
    np.testing.assert_array_equal(_voxels(node)[0], item.overlay_rgb)


def test_each_slice_view_shows_one_overlay_at_its_detector_in_3d_too(open_scene, tmp_path):
    items = [_scene_view(name, seed=seed) for seed, name in enumerate(("AP", "LAT", "oblique", "fourth"))]
    write_scene(tmp_path / "result.mrb", _ct(), POSE, items)
    scene = open_scene(tmp_path / "result.mrb")
    for layout_name, item in zip(("Red", "Yellow", "Green"), items):
        slice_node = scene.GetSingletonNode(layout_name, "vtkMRMLSliceNode")
        assert slice_node.GetSliceVisible()
        assert slice_node.GetOrientation() == "Reformat"
        to_ras = slice_node.GetSliceToRAS()
        loaded = np.array([[to_ras.GetElement(i, j) for j in range(4)] for i in range(4)])
        np.testing.assert_allclose(loaded, slice_to_ras(item.view), rtol=0, atol=ROUNDING_MM)
        width, height, _ = slice_node.GetFieldOfView()
        assert min(width, height) >= max(SIZE_PX) * 0.3
        composite = scene.GetSingletonNode(layout_name, "vtkMRMLSliceCompositeNode")
        assert composite.GetBackgroundVolumeID() == _node(scene, f"{item.name} overlay").GetID()


@pytest.mark.parametrize("kind", ["plain", "mirrored", "non-square", "skewed"])
def test_a_slice_view_shows_the_image_upright_as_it_is_stored(kind):
    view = _view(kind)
    matrix = slice_to_ras(view)
    np.testing.assert_allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix[:3, :3]) > 0  # no mirror: Slicer's slices are right-handed
    columns, rows = SIZE_PX
    corners = np.array([(0, 0, 0, 1), (columns - 1, 0, 0, 1), (0, rows - 1, 0, 1)]).T
    first, right, below = (np.linalg.inv(matrix) @ FLIP @ view.pixel_to_world @ corners).T[:, :3]
    across_mm, down_mm = (np.array(SIZE_PX) - 1) * view.pixel_spacing_mm
    skew_mm = 2e-3 * 0.3 * rows if kind == "skewed" else 1e-10  # what no orthogonal slice can follow
    np.testing.assert_allclose(first, [-across_mm / 2, down_mm / 2, 0], atol=skew_mm)
    np.testing.assert_allclose(right - first, [across_mm, 0, 0], atol=1e-10)
    np.testing.assert_allclose(below - first, [0, -down_mm, 0], atol=skew_mm)


def test_a_locked_point_marks_each_source(open_scene, tmp_path):
    items = [_scene_view("AP", seed=1), _scene_view("LAT", seed=2)]
    write_scene(tmp_path / "result.mrb", _ct(), POSE, items)
    scene = open_scene(tmp_path / "result.mrb")
    for item in items:
        node = _node(scene, f"{item.name} source")
        assert node.GetLocked()
        assert node.GetNumberOfControlPoints() == 1
        position = node.GetNthControlPointPositionWorld(0)
        np.testing.assert_allclose(position, FLIP[:3, :3] @ item.view.source, rtol=0, atol=ROUNDING_MM)


def test_views_of_one_name_and_views_named_like_the_ct_stay_apart(open_scene, tmp_path):
    names = ["AP", "AP", "CT", "ap", 'L & R <"%20">; é']
    items = [_scene_view(name, seed=seed) for seed, name in enumerate(names)]
    write_scene(tmp_path / "result.mrb", _ct(), POSE, items)
    scene = open_scene(tmp_path / "result.mrb")
    shown = ["AP", "AP (2)", "CT (2)", "ap (3)", names[-1]]
    for name, item in zip(shown, items):
        np.testing.assert_array_equal(_voxels(_node(scene, name))[0, ..., 0], item.image)
    assert _voxels(_node(scene, "CT")).shape == (3, 4, 5, 1)


def test_the_bundle_is_laid_out_as_slicer_does_and_alike_scenes_are_alike_files(tmp_path):
    path = tmp_path / "my résult 1.mrb"
    write_scene(path, _ct(), POSE, [_scene_view("AP")])
    first = path.read_bytes()
    with zipfile.ZipFile(path) as bundle:
        names = bundle.namelist()
    assert "my_r_sult_1/my_r_sult_1.mrml" in names
    assert all(name.startswith("my_r_sult_1/Data/") for name in names if not name.endswith(".mrml"))
    write_scene(path, _ct(), POSE, [_scene_view("AP")])
    assert path.read_bytes() == first


def test_a_large_ct_is_compressed(tmp_path):
    ct = Volume(np.full((32, 64, 64), -1000, np.int16), np.eye(4))
    write_scene(tmp_path / "result.mrb", ct, POSE, [])
    assert (tmp_path / "result.mrb").stat().st_size < ct.array.nbytes / 10


def test_a_scene_that_fails_half_way_leaves_the_old_bundle_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "result.mrb"
    path.write_bytes(b"the old one")

    def disk_full(*_) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scene_module, "_markups_json", disk_full)
    with pytest.raises(InputError, match=r"result\.mrb: cannot be written \(No space left"):
        write_scene(path, _ct(), POSE, [_scene_view("AP")])
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_no_scene_can_hold_is_refused_with_a_reason(tmp_path):
    item = _scene_view("AP")
    with pytest.raises(InputError, match=r"AP: the image has the shape \(7, 5\).*5 rows and 7 columns"):
        SceneView("AP", item.view, item.image.T, item.overlay_rgb)
    with pytest.raises(InputError, match="8-bit RGB"):
        SceneView("AP", item.view, item.image, item.overlay_rgb / 255)
    with pytest.raises(InputError, match="complex"):
        SceneView("AP", item.view, item.image.astype(complex), item.overlay_rgb)
    with pytest.raises(InputError, match="ends in"):
        write_scene(tmp_path / "scene.zip", _ct(), POSE, [])
    with pytest.raises(InputError, match="does not exist"):
        write_scene(tmp_path / "none" / "scene.mrb", _ct(), POSE, [])
    with pytest.raises(InputError, match="not finite"):
        write_scene(tmp_path / "scene.mrb", Volume(np.full((2, 2, 2), np.nan), np.eye(4)), POSE, [])
    assert list(tmp_path.iterdir()) == []
