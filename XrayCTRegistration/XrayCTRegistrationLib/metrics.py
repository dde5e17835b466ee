"""Registration errors between two poses of a CT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Pose, XrayView, vector_from_rotation
from .volume import Volume

BONE_HU = 250.0
_MAX_POINTS = 5000


@dataclass(frozen=True)
class PoseError:
    """Errors of an estimated pose against the true one.

    mtre_mm: mean distance of bone points carried by both poses (true mTRE).
    seed_mtre_mm: the same with the points held at the lever arm of the X-ray source, as the seed's published start
        values suggest; several times larger for the same error.
    mrpd_mm: mean distance of the points' projections, scaled from the detector to the depth of the CT's isocentre.
    rotation_deg: angle between the poses. in_plane_mm, depth_mm: shift of the CT's isocentre across and along the
        view's central axis.
    """

    mtre_mm: float
    seed_mtre_mm: float
    mrpd_mm: float
    rotation_deg: float
    in_plane_mm: float
    depth_mm: float


def bone_points(ct: Volume, radius_mm: float = 100.0) -> np.ndarray:
    """Bone voxels (N, 3) of a CT in Hounsfield units, in its own world: above 250 HU within radius_mm of its centre.

    At most 5000, taken evenly. Without bone there, bone anywhere stands in for it; without any, the volume's corners.
    """
    slices, rows, columns = np.nonzero(ct.array > BONE_HU)
    points = ct.points(np.stack([columns, rows, slices], axis=1).astype(np.float64))
    near = points[np.linalg.norm(points - ct.center, axis=1) <= radius_mm]
    chosen = near if len(near) else points
    if not len(chosen):
        chosen = ct.corners()
    return chosen[:: -(-len(chosen) // _MAX_POINTS)]


def mtre_mm(points: np.ndarray, estimated: Pose, true: Pose) -> float:
    """Mean target registration error: mean distance of points (N, 3) carried by both poses."""
    return float(np.linalg.norm(estimated.apply(points) - true.apply(points), axis=1).mean())


def pose_error(
    estimated: Pose,
    true: Pose,
    points: np.ndarray,
    view: XrayView,
    center: np.ndarray,
    stand: np.ndarray | None = None,
) -> PoseError:
    """All errors for target points (N, 3) in the CT's own world and the CT's isocentre `center` (3,) there.

    stand: (N, 3) where the points truly stand in the world of the view, if no rigid pose brings them there, as in a
    body that bent; true mTRE and mRPD then hold what is left at the best pose, too.
    """
    stand = true.apply(points) if stand is None else stand
    motion = estimated.rotation @ true.rotation.T
    shift = estimated.apply(center) - true.apply(center)
    along = view.axes.T @ shift
    # The seed's lever: the points' error as if the rotation were about the source, the shift that of the isocentre.
    levers = true.apply(points) - view.source
    seed = levers @ (motion - np.eye(3)).T + shift
    first, _ = view.project_points(stand)
    second, _ = view.project_points(estimated.apply(points))
    scale = view.millimetres_per_pixel_at(true.apply(center))
    return PoseError(
        mtre_mm=float(np.linalg.norm(estimated.apply(points) - stand, axis=1).mean()),
        seed_mtre_mm=float(np.linalg.norm(seed, axis=1).mean()),
        mrpd_mm=float(np.linalg.norm((second - first) * scale, axis=1).mean()),
        rotation_deg=float(np.degrees(np.linalg.norm(vector_from_rotation(motion)))),
        in_plane_mm=float(np.hypot(*along[:2])),
        depth_mm=float(abs(along[2])),
    )
