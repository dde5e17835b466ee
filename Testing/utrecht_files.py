"""A small set of vertebrae as the gold standard of Utrecht is told to be: raw files, and a description of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dataset_files import counts, pinhole, small_ct
from scipy.spatial.transform import Rotation
from XrayCTRegistrationLib.geometry import Pose, XrayView
from XrayCTRegistrationLib.volume import Volume

STARTS = 21


@dataclass(frozen=True, eq=False)
class UtrechtFiles:
    """The folder of a set. ct: at the truth. center: of the one vertebra's rotation. points: of its mask, (N, 3)."""

    folder: Path
    ct: Volume
    views: tuple[XrayView, XrayView]
    center: np.ndarray
    points: np.ndarray

    def description(self) -> dict:
        return json.loads((self.folder / "utrecht.json").read_text())


def write_utrecht(folder: Path) -> UtrechtFiles:
    """One segment with one vertebra, in CT, 3DRX and MR; two projections of 72 x 64 pixels.

    The CT is big-endian, the projections come after a header of 128 bytes. 3DRX stands shifted by a voxel and holds
    (Hounsfield units + 1000) / 2. Start n of 21 is n mm along x and 2 degrees about z for odd n.
    """
    small = small_ct()
    turn = Rotation.from_euler("xyz", [-80, 10, 15], degrees=True).as_matrix()
    matrix = Pose.about(small.center, turn, -small.center).matrix @ small.ijk_to_world
    ct = Volume(small.array, matrix)
    views = tuple(_view(angle) for angle in (0.0, 80.0))
    for number, view in enumerate(views):
        pixels = counts(ct, view, Pose.identity()).clip(0, 65535).astype("<u2")
        (folder / f"projection{number}.raw").write_bytes(bytes(128) + pixels.tobytes())
        mask = np.zeros(pixels.shape, np.uint8)
        mask[4:-4, 6:-6] = 255
        mask.tofile(folder / f"mask{number}.raw")
    ct.array.astype(">i2").tofile(folder / "ct.raw")
    rotational = np.roll(ct.array, -1, axis=2)
    ((rotational + 1000.0) / 2).astype("<f4").tofile(folder / "3drx.raw")
    shifted = matrix.copy()
    shifted[:3, 3] += matrix[:3, 0]
    vertebra = np.zeros(ct.array.shape, np.uint8)
    vertebra[16:26, 12:22, 14:27] = 1
    vertebra.tofile(folder / "vertebra.raw")
    (folder / "starts.txt").write_text(
        "# rz ry rx tx ty tz\n" + "".join(f"{2 * (n % 2)} 0 0 {n} 0 0\n" for n in range(STARTS))
    )
    size, center = list(ct.size), ct.points(np.array([20.0, 16.5, 20.5]))
    raw = {"size": size, "type": "int16", "byte_order": "big", "voxel_to_world": matrix.tolist()}
    description = {
        "starts": {
            "file": "starts.txt",
            "columns": ["z_deg", "y_deg", "x_deg", "x_mm", "y_mm", "z_mm"],
            "turns": "xyz",
        },
        "segments": [
            {
                "name": "1",
                "volumes": {
                    "CT": {"file": "ct.raw", **raw},
                    "3DRX": {
                        "file": "3drx.raw",
                        "size": size,
                        "type": "float32",
                        "byte_order": "little",
                        "voxel_to_world": shifted.tolist(),
                        "hounsfield": [2, -1000],
                    },
                    "MR": {"file": "mr.raw", **raw},
                },
                "projections": [
                    {
                        "file": f"projection{number}.raw",
                        "size": [72, 64],
                        "type": "uint16",
                        "byte_order": "little",
                        "header_bytes": 128,
                        "source_mm": view.source.tolist(),
                        "pixel_to_world": view.pixel_to_world.tolist(),
                        "polarity": "dark",
                    }
                    for number, view in enumerate(views)
                ],
                "vertebrae": [
                    {
                        "name": "1",
                        "center_mm": center.tolist(),
                        "volume_mask": {
                            "file": "vertebra.raw",
                            "size": size,
                            "type": "uint8",
                            "voxel_to_world": matrix.tolist(),
                        },
                        "projection_masks": [
                            {"file": f"mask{number}.raw", "size": [72, 64], "type": "uint8"} for number in (0, 1)
                        ],
                    }
                ],
            }
        ],
    }
    (folder / "utrecht.json").write_text(json.dumps(description))
    points = ct.points(np.argwhere(vertebra)[:, ::-1])
    return UtrechtFiles(folder, ct, views, center, points)


def _view(angle_deg: float) -> XrayView:
    """A camera that turns about the world's z axis, its source 700 mm from the origin."""
    about = Rotation.from_euler("z", angle_deg, degrees=True).as_matrix()
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ about.T
    world_to_camera[2, 3] = 700
    return pinhole(world_to_camera, (400.0, 400.0), (36.5, 30.0), (72, 64))
