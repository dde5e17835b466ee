"""Scenes that hold, or name, a CT's file as it is: read by 3D Slicer's own MRML library."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from XrayCTRegistrationLib.geometry import Pose, rotation_from_vector
from XrayCTRegistrationLib.io.scene import write_scene
from XrayCTRegistrationLib.io.stored_voxels import stored_voxels
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.volume import Volume

SHAPE = (3, 4, 5)
POSE = Pose.from_parts(rotation_from_vector(np.array([0.4, -1.1, 2.0])), np.array([12.5, -80.0, 1 / 3]))
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def voxels(dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.arange(-30, 30) * 40).reshape(SHAPE).astype(dtype)


def written(path: Path, array: np.ndarray, compressed: bool = True) -> Path:
    """An oblique, mirrored CT."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 1.5))
    image.SetOrigin((100.5, -200.25, 900.125))
    image.SetDirection((rotation_from_vector(np.array([1.0, 0.3, -0.5])) @ np.diag([1, 1, -1])).ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def ct_of_scene(path: Path, folder: Path):
    """The CT's node, as Slicer opens it, in a scene that the caller must keep."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    cache = slicer.vtkCacheManager()
    (folder / "cache").mkdir()
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    scene = slicer.vtkMRMLScene()
    scene.SetDataIOManager(manager)
    messages = slicer.vtkMRMLMessageCollection()
    assert scene.ReadFromMRB(str(path), True, messages), messages.GetAllMessagesAsString()
    assert messages.GetAllMessagesAsString() == ""
    return scene.GetFirstNodeByName("CT"), scene


def assert_scene_shows(path: Path, ct: Volume, folder: Path) -> None:
    node, _scene = ct_of_scene(path, folder)
    from vtk import vtkMatrix4x4
    from vtk.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    shown = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    np.testing.assert_array_equal(shown, ct.array)
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk_to_ras = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    np.testing.assert_allclose(ijk_to_ras, FLIP @ ct.ijk_to_world, atol=1e-6)  # NIfTI stores 32 bits
    assert node.GetParentTransformNode().GetName() == "CT to world"


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "CT.NRRD", "raw.nrrd"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize("linked", [False, True], ids=["copied", "linked"])
def test_slicer_finds_the_voxels_in_the_file_as_it_is(tmp_path, name, dtype, linked):
    file = written(
        tmp_path / name, np.abs(voxels(dtype) % 200) * 2 if dtype == np.uint8 else voxels(dtype), name[0] != "r"
    )
    ct = read_ct(file)
    stored = stored_voxels(file, ct.array.shape)
    write_scene(tmp_path / "scene.mrb", ct, POSE, [], stored, linked)
    if not linked:
        file.unlink()  # the scene stands by itself
    assert_scene_shows(tmp_path / "scene.mrb", ct, tmp_path)


def test_the_copy_is_the_file_byte_for_byte_and_a_link_holds_none_of_it(tmp_path):
    import zipfile

    file = written(tmp_path / "my ct.nii.gz", voxels())
    ct = read_ct(file)
    for linked in (False, True):
        write_scene(tmp_path / "scene.mrb", ct, POSE, [], stored_voxels(file, SHAPE), linked)
        bundle = zipfile.ZipFile(tmp_path / "scene.mrb")
        copies = [name for name in bundle.namelist() if name.endswith(".nii.gz")]
        assert copies == ([] if linked else ["scene/Data/CT.nii.gz"])
        assert all(bundle.read(name) == file.read_bytes() for name in copies)


def test_big_endian_nifti_is_understood(tmp_path):
    little = gzip.decompress(written(tmp_path / "ct.nii.gz", voxels()).read_bytes())
    file = tmp_path / "big.nii"
    file.write_bytes(
        _swapped(little[:348]) + little[348:352] + np.frombuffer(little[352:], "<i2").astype(">i2").tobytes()
    )
    stored = stored_voxels(file, SHAPE)
    assert stored.endian == "big"
    write_scene(tmp_path / "scene.mrb", read_ct(file), POSE, [], stored)
    assert_scene_shows(tmp_path / "scene.mrb", read_ct(file), tmp_path)


def _swapped(header: bytes) -> bytes:
    """A NIfTI-1 header in the other byte order."""
    fields = "i10s18sihcc8h3f4h8f3fhcc4f2i80s24s2h6f4f4f4f16s4s"
    return struct.pack(f">{fields}", *struct.unpack(f"<{fields}", header))


def _rescaled(path: Path) -> Path:
    written(path, voxels(), compressed=False)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<2f", 2.0, -1024.0)
    path.write_bytes(content)
    return path


def _with_data_elsewhere(path: Path) -> Path:
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nencoding: raw\nendian: little\ndata file: voxels.raw\n\n"
    )
    path.write_text(header)
    return path


def _written_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


OTHERS = {
    "a format of another kind": lambda d: written(d / "ct.mha", voxels()),
    "values that want rescaling": lambda d: _rescaled(d / "ct.nii"),
    "a header without the voxels": lambda d: _with_data_elsewhere(d / "ct.nrrd"),
    "another size": lambda d: written(d / "ct.nrrd", voxels()[:2]),
    "another size in NIfTI": lambda d: written(d / "ct.nii.gz", voxels()[:2]),
    "no gzip": lambda d: _written_bytes(d / "ct.nii.gz", b"\x1f\x8brubbish"),
    "an empty file": lambda d: _written_bytes(d / "ct.nii", b""),
    "no NRRD": lambda d: _written_bytes(d / "ct.nrrd", b"rubbish"),
    "a folder": lambda d: d,
    "nothing": lambda d: d / "no.nrrd",
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_what_a_scene_cannot_take_as_it_is_is_left_alone(tmp_path, make):
    assert stored_voxels(make(tmp_path), SHAPE) is None


def test_a_sheared_ct_keeps_its_shear(tmp_path):
    """A tilted gantry, in NRRD: the scene's own header says where the voxels stand."""
    matrix = np.diag([0.7, 0.8, 1.5, 1])
    matrix[1, 2] = 0.4
    write_ct(tmp_path / "ct.nrrd", Volume(voxels(), matrix))
    ct = read_ct(tmp_path / "ct.nrrd")
    write_scene(tmp_path / "scene.mrb", ct, POSE, [], stored_voxels(tmp_path / "ct.nrrd", SHAPE))
    assert_scene_shows(tmp_path / "scene.mrb", Volume(ct.array, matrix), tmp_path)
