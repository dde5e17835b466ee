"""Small files in the layouts of public data sets, of simulated X-rays at known poses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from XrayCTRegistrationLib.geometry import Pose, XrayView
from XrayCTRegistrationLib.io.radiographs import write_radiograph
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals
from XrayCTRegistrationLib.volume import Volume

PHOTONS = 20_000.0


def small_ct() -> Volume:
    """A piece of spine, 40 x 37 x 43 voxels of 3 mm."""
    return synthetic_spine(0, spacing_mm=3.0, size_mm=(120.0, 110.0, 130.0))


def pinhole(
    world_to_camera: np.ndarray, focal_px: tuple[float, float], center_px: tuple[float, float], size_px
) -> XrayView:
    """The view of a camera (x along columns, y along rows, z ahead), placed by its detector 1000 mm ahead."""
    to_world = np.linalg.inv(world_to_camera)
    (fx, fy), (cx, cy) = focal_px, center_px
    on_detector = np.array(
        [[1000 / fx, 0, 0, -cx * 1000 / fx], [0, 1000 / fy, 0, -cy * 1000 / fy], [0, 0, 1, 1000], [0, 0, 0, 1]]
    )
    return XrayView(to_world[:3, 3], to_world @ on_detector, size_px)


def counts(ct: Volume, view: XrayView, pose: Pose) -> np.ndarray:
    return detector_counts(line_integrals(ct, view, pose, 2.0), PHOTONS, np.random.default_rng(0))


@dataclass(frozen=True, eq=False)
class TrialFiles:
    """The folder of a trial, and what is in it: frames 1 and 2; the track has no pose in frame 2."""

    folder: Path
    ct: Volume
    views: tuple[XrayView, XrayView]
    true: Pose


def write_trial(folder: Path) -> TrialFiles:
    """A trial of Autoscoper: two cameras, one of each version of MayaCam, two frames, two bones, one of them tracked.

    The volume is stored as Hounsfield units + 1024, with its columns the wrong way round, which VolumeFlip undoes.
    """
    spine = small_ct()
    rows = spine.array.shape[1]
    matrix = np.diag([3.0, -3.0, -3.0, 1.0])
    matrix[:3, 3] = 1.5, (rows - 0.5) * 3, -1.5
    ct = Volume(spine.array, matrix)
    for name in ("Calibration", "XMA_UND/cam01", "XMA_UND/cam02", "Models", "Tracking"):
        (folder / name).mkdir(parents=True)
    stored = (ct.array[:, :, ::-1].astype(np.int32) + 1024).clip(0).astype(np.uint16)
    for bone in ("radius", "ulna"):
        sitk.WriteImage(sitk.GetImageFromArray(stored), str(folder / f"Models/{bone}.tif"))

    turns = [Rotation.from_euler("xyz", angles, degrees=True).as_matrix() for angles in ((80, 5, 10), (85, 70, -5))]
    sources = [np.array([-30.0, -700.0, 20.0]), np.array([-690.0, -100.0, 50.0])]
    turns = [_looking_at_origin(turn, source) for turn, source in zip(turns, sources)]
    views = []
    for turn, source in zip(turns, sources):
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3], world_to_camera[:3, 3] = turn, -turn @ source
        views.append(pinhole(world_to_camera, (400.0, 400.0), (36.5, 30.0), (72, 64)))
    (folder / "Calibration/cam01.txt").write_text(_mayacam_2(turns[0], sources[0]))
    (folder / "Calibration/cam02.csv").write_text(_mayacam_1(turns[1], sources[1]))

    middle = ct.center
    true = Pose.about(middle, Rotation.from_euler("xyz", [15, -20, 30], degrees=True).as_matrix(), -middle)
    for number, view in enumerate(views, start=1):
        for frame in ("0001", "0002"):
            write_radiograph(folder / f"XMA_UND/cam0{number}/UND.{frame}.png", counts(ct, view, true))
        (folder / f"XMA_UND/cam0{number}/Thumbs.db").write_bytes(b"none")
    lines = [",".join(f"{value:.12g}" for value in true.matrix.ravel()), ",".join(["NaN"] * 16)]
    (folder / "Tracking/wrist_radius.tra").write_text("\n".join(lines) + "\n")
    (folder / "wrist.cfg").write_text(
        "# a trial\nVersion 1.1\n"
        "mayaCam_csv Calibration/cam01.txt\nmayaCam_csv Calibration\\cam02.csv\n"
        "CameraRootDir XMA_UND/cam01\nCameraRootDir XMA_UND/cam02/\n"
        "VolumeFile Models/radius.tif\nVolumeFlip 1 0 0\nVoxelSize 3 3 3\n"
        "VolumeFile Models/ulna.tif\nVolumeFlip 1 0 0\nVoxelSize 3 3 3\n"
        "RenderResolution 512 512\nOptimizationOffsets 0.1 0.1 0.1 0.1 0.1 0.1\n"
    )
    return TrialFiles(folder, ct, (views[0], views[1]), true)


def _looking_at_origin(turn: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The rotation (world to camera) nearest to a turn that looks from the source at the origin."""
    ahead = -source / np.linalg.norm(source)
    right = turn[0] - (turn[0] @ ahead) * ahead
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead])


def _mayacam_2(turn: np.ndarray, source: np.ndarray) -> str:
    rows = "\n".join(",".join(f"{value:.12g}" for value in row) for row in turn)
    shift = "\n".join(f"{value:.12g}" for value in -turn @ source)
    return (
        "image size\n64,72\n\n"  # height first, as the format's description has it
        f"camera matrix\n400,0,36.5\n0,400,30\n0,0,1\n\nrotation\n{rows}\n\ntranslation\n{shift}\n"
    )


def _mayacam_1(turn: np.ndarray, source: np.ndarray) -> str:
    z, y, x = Rotation.from_matrix((np.diag([1, -1, -1]) @ turn).T).as_euler("ZYX", degrees=True)
    position = ",".join(f"{value:.12g}" for value in source)
    return f"{position}\n{x:.12g},{y:.12g},{z:.12g}\n0,0,0\n37.5,{64 - 30},-400\n0.1,72,64\n"


@dataclass(frozen=True, eq=False)
class DeepFluoroFile:
    """A small file of the set's layout. view: of the whole images. true: of the pelvis in projection 000."""

    path: Path
    ct: Volume
    landmarks: np.ndarray
    view: XrayView
    true: Pose


def write_deepfluoro(path: Path) -> DeepFluoroFile:
    """One specimen with two projections of 164 x 160 pixels, the second without a pose; its camera's z points to the
    source, as in the set."""
    import h5py

    ct, sdd_mm, spacing_mm, size_px, center_px = small_ct(), 1020.0, 2.5, (164, 160), (81.0, 80.5)
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    extrinsic[:3, 3] = 30, -20, -650
    focal = sdd_mm / spacing_mm
    intrinsic = np.array([[-focal, 0, center_px[0]], [0, -focal, center_px[1]], [0, 0, 1]])
    ahead = np.diag([1.0, 1.0, -1.0, 1.0])  # from z to the source to z ahead; it mirrors, as such a detector does
    view = pinhole(ahead @ extrinsic, (focal, focal), center_px, size_px)
    middle = ct.center
    true = Pose.about(middle, Rotation.from_euler("xyz", [-85, 10, 15], degrees=True).as_matrix(), -middle)
    stands = Pose.from_parts(np.eye(3), np.linalg.inv(extrinsic)[:3] @ [5, 8, -700, 1])
    true = stands @ true
    rng = np.random.default_rng(1)
    landmarks = {f"L{n}-l": middle + rng.uniform(-40, 40, 3) for n in range(14)}
    with h5py.File(path, "w") as file:
        parameters = file.create_group("proj-params")
        for name, value in {
            "extrinsic": extrinsic,
            "intrinsic": intrinsic,
            "num-cols": size_px[0],
            "num-rows": size_px[1],
            "pixel-col-spacing": spacing_mm,
            "pixel-row-spacing": spacing_mm,
        }.items():
            parameters[name] = value
        file["17-1882/vol/pixels"] = ct.array.astype(np.float32)
        file["17-1882/vol/origin"] = ct.ijk_to_world[:3, 3]
        file["17-1882/vol/spacing"] = ct.spacing_mm
        file["17-1882/vol/dir-mat"] = ct.ijk_to_world[:3, :3] / ct.spacing_mm
        for name, point in landmarks.items():
            file[f"17-1882/vol-landmarks/{name}"] = point
        image = counts(ct, view, true).astype(np.float32)
        for number in ("000", "001"):
            file[f"17-1882/projections/{number}/image/pixels"] = image
            file[f"17-1882/projections/{number}/rot-180-for-up"] = 0
            for name, point in landmarks.items():
                file[f"17-1882/projections/{number}/gt-landmarks/{name}"] = view.project_points(true.apply(point))[0]
        file["17-1882/projections/000/gt-poses/cam-to-pelvis-vol"] = true.inverse().matrix
    return DeepFluoroFile(path, ct, np.array([landmarks[name] for name in sorted(landmarks)]), view, true)
