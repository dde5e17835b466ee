"""A small phantom with two X-rays as nodes of the host's scene, chosen in the panel as by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

CARM = {"source_to_detector_mm": 1020.0, "source_to_isocenter_mm": 700.0, "pixel_spacing_mm": [3.0, 3.0]}
SIZE_PX = (112, 112)
PIXEL_MM = 3.0 * 700 / 1020  # at the isocentre
ANGLES_DEG = (0.0, 90.0)
LONGEST_S = 240  # a registration takes seconds; on a machine that does much else at once, longer
REFINE = "Refine a start that is close"  # the method that takes the least time
LEARNED = "Learned similarity only"
SLOW = "CMA-ES nearby, then refine"  # the method that takes the most: long enough to look at while it runs
TRUE_TURN_DEG, TRUE_SHIFT_MM = (5.0, -4.0, 6.0), (10.0, -8.0, -12.0)


@dataclass(frozen=True)
class PanelCase:
    """Nodes in the scene. true_pose: at which the X-rays were made, ct_to_world in LPS."""

    ct_node: Any
    xray_nodes: tuple[Any, ...]
    true_pose: Any

    def error_mm(self, pose: Any) -> float:
        """The largest distance between points 50 mm about the CT's middle, carried by a pose and by the true one."""
        from XrayCTRegistrationLib.mrml.volumes import ct_volume

        points = ct_volume(self.ct_node).center + 50.0 * np.concatenate([np.eye(3), -np.eye(3)])
        return float(np.linalg.norm(pose.apply(points) - self.true_pose.apply(points), axis=1).max())


def choose_case(host: Any, views: int = 2, geometry: bool = True) -> PanelCase:
    """Add the case to the scene and choose it in the panel. geometry: whether the X-rays know their C-arm."""
    case = add_case(host, views, geometry)
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    choose_xrays(host, *case.xray_nodes)
    prepared(host)
    return case


def choose_xrays(host: Any, *nodes: Any) -> None:
    """Choose these X-rays in the panel and no others, as by hand."""
    while host.ui.xrayTable.rowCount:
        host.ui.xrayTable.cellWidget(0, 3).click()
    for node in nodes:
        host.ui.addXraySelector.setCurrentNode(node)


def xrays(host: Any) -> list[Any]:
    """The X-rays that are chosen in the panel."""
    return host.panel.panel.selection.xray_nodes


def prepared(host: Any) -> None:
    """Wait until the CT is ready to be shown."""
    host.wait(lambda: host.ui.stageLabel.text == "" or host.ui.registerMessageLabel.text, LONGEST_S)


def add_case(host: Any, views: int = 2, geometry: bool = True) -> PanelCase:
    """Add the case to the scene."""
    import slicer
    from XrayCTRegistrationLib.geometry import Pose
    from XrayCTRegistrationLib.geometry.entries import Entry
    from XrayCTRegistrationLib.mrml.geometry import set_entries
    from XrayCTRegistrationLib.mrml.volumes import add_ct_node
    from XrayCTRegistrationLib.mrml.xrays import add_xray_node
    from XrayCTRegistrationLib.volume import Volume

    array, ijk_to_world, images, pose = _simulated()
    ct_node = add_ct_node(host.scene, "Small CT", Volume(array, ijk_to_world))
    nodes = []
    for number, (image, angle) in enumerate(zip(images[:views], ANGLES_DEG), start=1):
        if geometry:
            node = add_xray_node(host.scene, f"X-ray {number}", image, _view(angle))
            entries = {**CARM, "primary_angle_deg": angle, "secondary_angle_deg": 0.0}
            set_entries(node, {name: Entry(value, "test") for name, value in entries.items()})
        else:
            node = slicer.util.addVolumeFromArray(image[None], name=f"X-ray {number}")
        nodes.append(node)
    return PanelCase(ct_node, tuple(nodes), Pose(pose))


def _view(angle_deg: float) -> Any:
    from XrayCTRegistrationLib.geometry import view_from_carm

    return view_from_carm({**CARM, "image_size_px": list(SIZE_PX), "primary_angle_deg": angle_deg})


@cache
def _simulated() -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """CT array, ijk_to_world, X-ray images and true pose matrix."""
    from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler
    from XrayCTRegistrationLib.phantom import synthetic_spine
    from XrayCTRegistrationLib.simulation import detector_counts, line_integrals

    ct = synthetic_spine(spacing_mm=3.0)
    turn = rotation_from_euler(np.radians(TRUE_TURN_DEG))
    pose = Pose.about(np.zeros(3), turn, np.array(TRUE_SHIFT_MM)) @ Pose.from_parts(np.eye(3), -ct.center)
    rng = np.random.default_rng(0)
    images = [
        np.minimum(detector_counts(line_integrals(ct, _view(angle), pose, 1.5), 20_000, rng), 65535).astype(np.uint16)
        for angle in ANGLES_DEG
    ]
    return ct.array, ct.ijk_to_world, images, pose.matrix
