"""`xrayct demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..io.folders import published
from .console import facts, files_fact, say, waiting
from .options import Device, DeviceOption, SeedOption, output_folder
from .output import writable_folder
from .registering import registered

if TYPE_CHECKING:
    import numpy as np

    from ..geometry import Pose, XrayView
    from ..metrics import PoseError

_FAR_MM = 40.0  # true mTRE of the start
_CT = "synthetic_ct.nii.gz"
_FILES = ("geometry.json", "true_pose.tfm", "xray.png")


def demo(
    ct: Annotated[
        Path | None,
        typer.Option(metavar="CT", help="Your own CT (file or DICOM folder) instead of an invented lumbar spine."),
    ] = None,
    device: DeviceOption = Device.AUTO,
    seed: SeedOption = 0,
    output: Annotated[
        Path,
        output_folder("Folder for the results."),
    ] = Path("demo-output"),
) -> None:
    """Try everything out: make an X-ray at an unknown pose, register the CT to it, and compare with the truth.

    Open scene.mrb of the results in 3D Slicer, or look at overlay.png.
    """
    folder = writable_folder(output)
    with waiting("Starting"):
        import numpy as np

        from ..evaluation.protocol import PHOTONS, protocol_view
        from ..io.carm_files import write_carm
        from ..io.poses import write_pose
        from ..io.radiographs import write_radiograph
        from ..io.stored_voxels import stored_voxels
        from ..io.volumes import read_ct, write_ct
        from ..metrics import bone_points, pose_error
        from ..phantom import synthetic_spine
        from ..registration import Settings, centered
        from ..search.search_range import SearchRange
        from ..simulation import detector_counts, line_integrals
        from ..xray import Polarity, Radiograph
        from .inputs import Inputs
        from .report import FILES, result_facts
        from .stages import announce_compilation

    with waiting("Building a synthetic lumbar spine" if ct is None else f"Reading {ct.name}"):
        volume = synthetic_spine(seed) if ct is None else read_ct(ct)
    view = protocol_view()
    start, points = centered(volume, [view]), bone_points(volume)
    true = _far_pose(start, points, view, seed)
    announce_compilation()
    with waiting("Simulating a noisy X-ray at an unknown pose"):
        counts = detector_counts(line_integrals(volume, view, true), PHOTONS, np.random.default_rng(seed))
    names = _FILES if ct else (_CT, *_FILES)
    with published(folder, names) as hidden:
        if ct is None:
            write_ct(hidden / _CT, volume)
        write_carm(hidden / "geometry.json", view)
        write_pose(hidden / "true_pose.tfm", true)
        write_radiograph(hidden / "xray.png", counts)
    name = "synthetic lumbar spine" if ct is None else str(ct)
    radiograph = Radiograph(counts, "xray.png", Polarity.DARK)
    voxels = None if ct is None else stored_voxels(ct, volume.array.shape)
    inputs = Inputs(volume, (radiograph,), (view,), (None,), name, ("xray.png",), ("geometry.json",), (None,), voxels)
    settings = Settings(search=SearchRange(), device=device.value, seed=seed)
    result = registered(inputs, start, settings, "center", folder).result
    before, after = (pose_error(pose, true, points, view, volume.center) for pose in (start, result.pose))
    facts([*_error_facts(before, after), *result_facts(result), files_fact(folder, (*FILES, *names))])
    say(f"Look at {folder / 'overlay.png'}, or open {folder / 'scene.mrb'} in 3D Slicer.")


def _far_pose(start: Pose, points: np.ndarray, view: XrayView, seed: int) -> Pose:
    """The first pose of the evaluation's distribution that is far from the start."""
    from ..evaluation.protocol import random_motion
    from ..metrics import mtre_mm

    number = 0
    while True:
        true = random_motion(view, "demo", number, seed) @ start
        if mtre_mm(points, start, true) >= _FAR_MM:
            return true
        number += 1


def _error_facts(before: PoseError, after: PoseError) -> list[tuple[str, str]]:
    """The errors against the truth at the start and at the result."""
    rows = [
        ("True mTRE", "mtre_mm", "mm"),
        ("Rotation error", "rotation_deg", "degrees"),
        ("In-plane error", "in_plane_mm", "mm"),
        ("Depth error", "depth_mm", "mm"),
    ]
    return [
        (title, f"{getattr(before, name):.2f} {unit} at the start, {getattr(after, name):.2f} {unit} at the result")
        for title, name, unit in rows
    ]
