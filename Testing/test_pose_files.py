"""Pose files against 3D Slicer's own storage node, and against what people hand over by mistake."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, rotation_from_vector
from XrayCTRegistrationLib.io.poses import pose_text, read_pose, replacing, write_pose

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
READING_ERROR = 2e-12  # doubles of some hundred mm, multiplied and added once or twice


def _pose(seed: int) -> Pose:
    random = np.random.default_rng(seed)
    return Pose.from_parts(rotation_from_vector(random.normal(size=3) * 2), random.normal(size=3) * 100)


class _Slicer:
    """A scene of slicer-core with one linear transform node, and its storage node; `slicer` and `vtk` suffice."""

    def __init__(self) -> None:
        self.slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
        self.vtk = pytest.importorskip("vtk", reason="vtk is not installed")
        self.scene = self.slicer.vtkMRMLScene()
        self.node = self.slicer.vtkMRMLLinearTransformNode()
        self.storage = self.slicer.vtkMRMLTransformStorageNode()
        for node in (self.node, self.storage):
            self.scene.AddNode(node)

    def read(self, path) -> np.ndarray:
        """The node's transform to parent, RAS, after it has read the file."""
        self.storage.SetFileName(str(path))
        assert self.storage.ReadData(self.node) == 1
        return self._matrix("GetMatrixTransformToParent")

    def write(self, path, pose: Pose, center: tuple[float, float, float] | None = None) -> None:
        """Write the pose (LPS) with Slicer; `center` is the node's centre of transformation, local RAS."""
        matrix = self.vtk.vtkMatrix4x4()
        matrix.DeepCopy((FLIP @ pose.matrix @ FLIP).ravel().tolist())
        self.node.SetMatrixTransformToParent(matrix)
        if center is None:  # the point of the CT that stands at the world's origin, as in the files we write
            center = self._matrix("GetMatrixTransformFromParent")[:3, 3].tolist()
        self.node.SetCenterOfTransformation(*center)
        self.storage.SetFileName(str(path))
        assert self.storage.WriteData(self.node) == 1

    def _matrix(self, getter: str) -> np.ndarray:
        matrix = self.vtk.vtkMatrix4x4()
        getattr(self.node, getter)(matrix)
        return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


@pytest.fixture
def slicer_transform() -> _Slicer:
    return _Slicer()


def test_slicer_reads_our_file_as_the_pose_in_ras(slicer_transform, tmp_path):
    pose = _pose(1)
    write_pose(tmp_path / "pose.tfm", pose)
    matrix = slicer_transform.read(tmp_path / "pose.tfm")
    np.testing.assert_allclose(matrix, FLIP @ pose.matrix @ FLIP, rtol=0, atol=READING_ERROR)


@pytest.mark.parametrize("seed", range(10))
def test_our_file_is_slicers_to_the_byte(slicer_transform, tmp_path, seed):
    pose = _pose(seed)
    write_pose(tmp_path / "ours.tfm", pose)
    slicer_transform.write(tmp_path / "slicer.tfm", pose)
    assert (tmp_path / "ours.tfm").read_bytes() == (tmp_path / "slicer.tfm").read_bytes()


def test_zero_and_tiny_numbers_are_laid_out_as_slicer_does(slicer_transform, tmp_path):
    pose = Pose.from_parts(rotation_from_vector(np.array([1e-9, 0, 2e-6])), np.array([0.0, 2.5e-7, -123456.0]))
    slicer_transform.write(tmp_path / "slicer.tfm", pose)
    text = (tmp_path / "slicer.tfm").read_text()
    assert "e-" in text
    assert pose_text(pose) == text


@pytest.mark.parametrize("name", ["pose.tfm", "pose.txt", "pose.h5"])
@pytest.mark.parametrize("center", [None, (0.0, 0.0, 0.0), (12.0, -30.0, 80.0)])
def test_files_that_slicer_writes_read_back_as_the_pose_wherever_its_handles_stand(
    slicer_transform, tmp_path, name, center
):
    pose = _pose(2)
    slicer_transform.write(tmp_path / name, pose, center)
    np.testing.assert_allclose(read_pose(tmp_path / name).matrix, pose.matrix, rtol=0, atol=READING_ERROR)


def test_a_written_pose_reads_back_unchanged(tmp_path):
    pose = _pose(3)
    write_pose(tmp_path / "pose.tfm", pose)
    np.testing.assert_allclose(read_pose(tmp_path / "pose.tfm").matrix, pose.matrix, rtol=0, atol=READING_ERROR)


def test_the_file_holds_the_inverse_in_lps_by_hand(tmp_path):
    quarter_turn_about_z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    text = pose_text(Pose.from_parts(quarter_turn_about_z, np.array([10.0, 20.0, 30.0])))
    words = text.splitlines()[3].split()
    assert text.splitlines()[2] == "Transform: AffineTransform_double_3_3"
    np.testing.assert_allclose(np.array(words[1:], dtype=float), [0, 1, 0, -1, 0, 0, 0, 0, 1, -20, 10, -30], atol=1e-15)


def test_the_published_wrist_pose_is_rigid(shared_data):
    path = shared_data / "xray" / "wrist" / "rad_reference_pose.tfm"
    pose = read_pose(path)
    numbers = np.array(path.read_text().splitlines()[3].split()[1:], dtype=float)
    np.testing.assert_allclose(pose.inverse().rotation.ravel(), numbers[:9], rtol=0, atol=1e-12)
    np.testing.assert_allclose(pose.inverse().translation_mm, numbers[9:], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["pose.tfm", "pose.h5"])
@pytest.mark.parametrize(
    "transform",
    [
        sitk.Euler3DTransform((5.0, -40.0, 900.0), 0.3, -0.2, 1.1, (10.0, 20.0, -30.0)),
        sitk.VersorRigid3DTransform((0.6, 0.0, 0.8), 0.7, (1.0, 2.0, 3.0), (-50.0, 60.0, 70.0)),
        sitk.TranslationTransform(3, (1.0, 2.0, 3.0)),
        sitk.CompositeTransform([sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), sitk.Euler3DTransform((9, 8, 7), 1)]),
    ],
    ids=lambda transform: transform.GetName(),
)
def test_rigid_itk_transforms_take_world_points_to_the_ct(tmp_path, name, transform):
    sitk.WriteTransform(transform, str(tmp_path / name))
    ct_to_world = read_pose(tmp_path / name)
    for point in np.random.default_rng(0).normal(size=(5, 3)) * 200:
        in_ct = np.array(transform.TransformPoint(point.tolist()))
        np.testing.assert_allclose(ct_to_world.apply(in_ct), point, rtol=0, atol=1e-11)  # levers of 1000 mm


def test_matrix_offset_transforms_and_single_precision_are_read(tmp_path):
    rotation, offset = _pose(4).rotation, _pose(4).translation_mm
    numbers = " ".join(f"{value:.9g}" for value in [*rotation.ravel(), *offset])
    path = tmp_path / "pose.tfm"
    for kind in ("MatrixOffsetTransformBase_double_3_3", "AffineTransform_float_3_3"):
        path.write_text(
            f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\nParameters: {numbers}\n"
            "FixedParameters: 0 0 0\n"
        )
        np.testing.assert_allclose(read_pose(path).matrix, _pose(4).inverse().matrix, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("pose.json", lambda matrix: json.dumps({"ct_to_world": matrix.tolist(), "similarity": 0.9})),
        ("pose.json", lambda matrix: json.dumps(matrix.tolist())),
        ("pose.txt", lambda matrix: "# ct_to_world\n" + "\n".join(" ".join(map(repr, row)) for row in matrix.tolist())),
        ("pose.csv", lambda matrix: "\ufeff" + "\r\n".join(",".join(map(repr, row)) for row in matrix.tolist())),
    ],
)
def test_plain_matrices_are_ct_to_world_itself(tmp_path, name, layout):
    pose = _pose(5)
    (tmp_path / name).write_text(layout(pose.matrix), encoding="utf-8")
    np.testing.assert_allclose(read_pose(tmp_path / name).matrix, pose.matrix, rtol=0, atol=1e-12)


def _itk_text(
    parameters: str, kind: str = "AffineTransform_double_3_3", fixed: str = "FixedParameters: 0 0 0\n"
) -> str:
    return f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\nParameters: {parameters}\n{fixed}"


_IDENTITY = "1 0 0 0 1 0 0 0 1 0 0 0"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("pose.tfm", _itk_text("1 0 0 0 1 0 0 0 0 0 0 0"), "singular"),
        ("pose.tfm", _itk_text("2 0 0 0 1 0 0 0 1 0 0 0"), "not rigid"),
        ("pose.tfm", _itk_text("-1 0 0 0 1 0 0 0 1 0 0 0"), "mirrors"),
        ("pose.tfm", _itk_text("1 0 0 0 1 0"), "damaged"),
        ("pose.tfm", _itk_text("1 0 0 0 1 0", fixed=""), "FixedParameters are missing"),
        ("pose.tfm", _itk_text("").replace("Parameters: \n", "", 1), " Parameters are missing|damaged"),
        ("pose.tfm", _itk_text(_IDENTITY, fixed=""), "FixedParameters are missing"),
        ("pose.tfm", _itk_text(_IDENTITY, kind="NoSuchTransform_double_3_3"), "not a transform"),
        ("pose.tfm", _itk_text(_IDENTITY) + _itk_text(_IDENTITY).split("\n", 1)[1], "2 transforms"),
        ("pose.tfm", _itk_text("0.1 1 2", kind="Euler2DTransform_double_2_2", fixed="FixedParameters: 0 0\n"), "2-dim"),
        ("pose.tfm", "", "four rows"),
        ("pose.h5", "no HDF5 at all", "not a transform"),
        ("pose.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n", "four rows"),
        ("pose.txt", "rotation: 3 degrees", "neither"),
        ("pose.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 1 1", "last row"),
        ("pose.json", "{", "JSON"),
        ("pose.json", '{"pose": []}', "ct_to_world"),
        ("pose.json", '{"ct_to_world": [[1, 0, 0, 0], [0, 1]]}', "four rows"),
        ("pose.json", '{"ct_to_world": null}', "4x4"),
        ("pose.json", "[[1, 0, 0, NaN], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "finite"),
    ],
)
def test_what_is_no_rigid_pose_is_refused_by_file_name_and_reason(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=says) as raised:
        read_pose(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_deforming_transforms_are_refused_alone_and_in_composites(tmp_path):
    field = sitk.DisplacementFieldTransform(sitk.Image([4, 4, 4], sitk.sitkVectorFloat64))
    sitk.WriteTransform(sitk.CompositeTransform([sitk.Euler3DTransform(), field]), str(tmp_path / "composite.h5"))
    sitk.WriteTransform(sitk.BSplineTransform(3), str(tmp_path / "spline.tfm"))
    for name in ("composite.h5", "spline.tfm"):
        with pytest.raises(InputError, match=f"{name}.*deforms"):
            read_pose(tmp_path / name)


def test_missing_files_folders_and_binary_text_are_refused(tmp_path):
    (tmp_path / "binary.tfm").write_bytes(b"\xff\xfe\x00\x01")
    for name, says in (("missing.tfm", "no such"), (".", "no such"), ("binary.tfm", "cannot be read")):
        with pytest.raises(InputError, match=says):
            read_pose(tmp_path / name)


def test_writing_leaves_a_whole_file_or_the_old_one(tmp_path):
    path = tmp_path / "pose.tfm"
    write_pose(path, _pose(6))
    before = path.read_bytes()

    def interrupted() -> None:
        with replacing(path) as unfinished:
            unfinished.write_text("half a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writing_to_a_missing_folder_or_another_format_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_pose(tmp_path / "none" / "pose.tfm", _pose(7))
    with pytest.raises(InputError, match="ends in"):
        write_pose(tmp_path / "pose.h5", _pose(7))
