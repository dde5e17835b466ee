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
SEGMENTS = ("L2", "L3", "L4")
TRUE_TURN_DEG, TRUE_SHIFT_MM = (5.0, -4.0, 6.0), (10.0, -8.0, -12.0)


MOVED_BONE, MOVED_TURN_DEG, MOVED_SHIFT_MM = "L3", (5.0, 3.0, 0.0), (-4.0, 0.0, 3.0)


@dataclass(frozen=True)
class PanelCase:
    """Nodes in the scene. true_pose: at which the X-rays were made, ct_to_world in LPS. segmentation_node: of the
    vertebrae L2 to L4. bone_pose: that of L3 in the X-rays, where that has moved on its own."""

    ct_node: Any
    xray_nodes: tuple[Any, ...]
    true_pose: Any
    segmentation_node: Any | None = None
    bone_pose: Any | None = None

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


def choose_bones(host: Any, *names: str, views: int = 2, at_true_pose: bool = True) -> PanelCase:
    """Add the case with a vertebra that has moved, choose it and its segmentation, and check segments by name.

    at_true_pose: whether the CT, in one piece, stands where it did when the X-rays were made.
    """
    from XrayCTRegistrationLib.mrml.poses import set_pose

    case = add_bones_case(host, views)
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    choose_xrays(host, *case.xray_nodes)
    prepared(host)
    if at_true_pose:
        set_pose(host.ui.poseSelector.currentNode(), case.true_pose)
    host.ui.segmentationSelector.setCurrentNode(case.segmentation_node)
    host.wait(lambda: host.ui.segmentsListWidget.count == len(SEGMENTS))
    check(host, *names)
    return case


def check(host: Any, *names: str) -> None:
    """Check these segments and no others, as by hand, and wait until they are ready."""
    import qt

    widget = host.ui.segmentsListWidget
    for row in range(widget.count):
        item = widget.item(row)
        item.setCheckState(qt.Qt.Checked if item.text() in names else qt.Qt.Unchecked)
    host.wait(lambda: host.ui.stageLabel.text == "", LONGEST_S)


def add_bones_case(host: Any, views: int = 2) -> PanelCase:
    """Add the case with a vertebra that has moved to the scene."""
    from dataclasses import replace

    from XrayCTRegistrationLib.geometry import Pose
    from XrayCTRegistrationLib.mrml.segments import add_segmentation_node

    case, motion = add_case(host, views, bent=True), Pose(_motion())
    segments = [one for one in _segments() if one.name in SEGMENTS]
    node = add_segmentation_node(host.scene, "Vertebrae", segments, case.ct_node)
    return replace(case, segmentation_node=node, bone_pose=case.true_pose @ motion)


def segment_id(case: PanelCase, name: str) -> str:
    """The id of a segment of the case's segmentation."""
    return case.segmentation_node.GetSegmentation().GetSegmentIdBySegmentName(name)


def bone_transforms(host: Any) -> dict[str, Any]:
    """The transforms of bones in the scene, by name."""
    from XrayCTRegistrationLib.mrml.bone_transforms import bone_nodes

    return {node.GetName(): node for node in bone_nodes(host.ui.poseSelector.currentNode())}


def bone_rows(host: Any) -> list[list[str]]:
    """The rows of the table of bones in the result section: name, similarity, moved, confidence."""
    table = host.ui.boneResultsTable
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]


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


def add_case(host: Any, views: int = 2, geometry: bool = True, bent: bool = False) -> PanelCase:
    """Add the case to the scene. bent: whether a vertebra has moved in the X-rays."""
    import slicer
    from XrayCTRegistrationLib.geometry import Pose
    from XrayCTRegistrationLib.geometry.entries import Entry
    from XrayCTRegistrationLib.mrml.geometry import set_entries
    from XrayCTRegistrationLib.mrml.volumes import add_ct_node
    from XrayCTRegistrationLib.mrml.xrays import add_xray_node
    from XrayCTRegistrationLib.volume import Volume

    array, ijk_to_world, images, pose = _simulated(bent)
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


def _segments() -> list[Any]:
    from XrayCTRegistrationLib.phantom import spine_segments

    return spine_segments(spacing_mm=3.0)


def _motion() -> np.ndarray:
    """4x4, of the vertebra that moves, in the CT's own LPS."""
    from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler
    from XrayCTRegistrationLib.phantom import spine_centers_mm

    turn = rotation_from_euler(np.radians(MOVED_TURN_DEG))
    return Pose.about(spine_centers_mm()[MOVED_BONE], turn, np.array(MOVED_SHIFT_MM)).matrix


@cache
def _simulated(bent: bool) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """CT array, ijk_to_world, X-ray images and true pose matrix."""
    from XrayCTRegistrationLib.evaluation.moved_bones import with_bones_moved
    from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler
    from XrayCTRegistrationLib.phantom import synthetic_spine
    from XrayCTRegistrationLib.simulation import detector_counts, line_integrals

    ct = synthetic_spine(spacing_mm=3.0)
    turn = rotation_from_euler(np.radians(TRUE_TURN_DEG))
    pose = Pose.about(np.zeros(3), turn, np.array(TRUE_SHIFT_MM)) @ Pose.from_parts(np.eye(3), -ct.center)
    moving = [one for one in _segments() if one.name == MOVED_BONE] if bent else []
    body = with_bones_moved(ct, moving, [Pose(_motion())]) if bent else ct
    rng = np.random.default_rng(0)
    images = [
        np.minimum(detector_counts(line_integrals(body, _view(angle), pose, 1.5), 20_000, rng), 65535).astype(np.uint16)
        for angle in ANGLES_DEG
    ]
    return ct.array, ct.ijk_to_world, images, pose.matrix
