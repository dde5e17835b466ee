"""Segments as 3D Slicer writes them, and what is drawn of bones: surfaces, colours, legends."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib import figure_layout
from XrayCTRegistrationLib.bones.colors import colored
from XrayCTRegistrationLib.bones.segments import Segment
from XrayCTRegistrationLib.bones.surface import surface_of
from XrayCTRegistrationLib.figure_layout import Lettering, laid_out
from XrayCTRegistrationLib.io.label_files import read_segments
from XrayCTRegistrationLib.volume import Volume

ONE = Volume(np.ones((2, 2, 2), bool), np.eye(4))


def test_overlapping_segments_are_read_as_3d_slicer_itself_writes_them(tmp_path):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    from vtk import VTK_UNSIGNED_CHAR
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bones")
    boxes = {
        "Lendenwirbel 5 ä": ((0.9, 0.1, 0.2), np.s_[2:10, 3:9, 4:12]),
        "L4: links": ((0.1, 0.2, 0.9), np.s_[8:15, 5:12, 6:14]),  # which overlaps it, so that there are two layers
        "leer": ((0.5, 0.5, 0.5), np.s_[0:0, 0:0, 0:0]),
    }
    for name, (color, box) in boxes.items():
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(20, 22, 24)
        image.SetSpacing(1, 2, 3)
        image.SetOrigin(-10, 5, 7)
        image.AllocateScalars(VTK_UNSIGNED_CHAR, 1)
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(24, 22, 20)
        voxels[:] = 0
        voxels[box] = 1
        node.AddSegmentFromBinaryLabelmapRepresentation(image, name, color)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "bones.seg.nrrd"))
    assert storage.WriteData(node)

    segments = read_segments(tmp_path / "bones.seg.nrrd")
    assert [(one.name, one.color) for one in segments] == [(name, color) for name, (color, _) in boxes.items()]
    for segment, (_, box) in zip(segments, boxes.values()):
        inside = np.zeros((24, 22, 20), bool)
        inside[box] = True
        ras = np.argwhere(inside)[:, ::-1] * [1, 2, 3] + [-10, 5, 7]
        lps = segment.mask.points(np.argwhere(segment.mask.array)[:, ::-1])
        assert {tuple(np.round(one, 6)) for one in lps} == {tuple(np.round(one * [-1, -1, 1], 6)) for one in ras}


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_surface_of_an_ellipsoid_is_closed_faces_outward_and_lies_on_it(mirrored):
    axes, middle = np.array([18.0, 15.0, 12.0]), np.array([24.0, 22.0, 20.0])
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in (40, 44, 48)], indexing="ij"), axis=-1)[..., ::-1]
    inside = np.linalg.norm((indices - middle) / axes, axis=-1) < 1
    matrix = np.diag([-1.0 if mirrored else 1.0, 2.0, 1.5, 1.0])
    matrix[:3, 3] = 5, 6, 7
    surface = surface_of(Volume(inside, matrix))
    one, other, third = (surface.points[surface.triangles[:, corner]] for corner in range(3))
    volume = np.einsum("ij,ij->", one, np.cross(other, third)) / 6  # divergence theorem: negative if faces look inward
    assert volume == pytest.approx(4 / 3 * np.pi * axes.prod() * 3.0, rel=0.05)  # a third of a voxel is drawn in
    edges = np.sort(np.concatenate([surface.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    radii = np.linalg.norm(((surface.points - matrix[:3, 3]) / np.diag(matrix)[:3] - middle) / axes, axis=1)
    assert np.abs(radii - 1).max() < 1 / axes.min()  # a voxel


def test_a_large_segment_is_coarsened_and_a_tiny_one_still_has_a_surface():
    large = surface_of(Volume(np.ones((130, 120, 110), bool), np.diag([0.5, 0.5, 0.5, 1.0])))
    assert len(large.points) < 60_000
    np.testing.assert_allclose(np.ptp(large.points, axis=0), np.array([110, 120, 130]) * 0.5, atol=1.0)  # its voxels
    tiny = np.zeros((3, 3, 3), bool)
    tiny[1, 1, 1:] = True
    assert len(surface_of(Volume(tiny, np.eye(4))).points) == 12


def test_every_bone_has_a_colour_of_its_own_and_keeps_the_one_it_has():
    bone = (0.95, 0.84, 0.57)  # of all that 3D Slicer calls bone
    segments = [
        Segment(str(k), ONE, color=color) for k, color in enumerate([None, bone, bone, (1.0, 0.35, 0.35), None])
    ]
    colors = [one.color for one in colored(segments)]
    assert (colors[1], colors[3]) == (bone, (1.0, 0.35, 0.35))
    many = [one.color for one in colored([Segment(str(k), ONE) for k in range(30)])]
    for those, least in ((colors, 0.2), (many, 0.01)):
        apart = [np.abs(np.subtract(a, b)).sum() for k, a in enumerate(those) for b in those[:k]]
        assert min(apart) > least
    assert min(max(color) for color in many) > 0.8  # bright, on a dark X-ray


def test_a_legend_wraps_into_lines_and_has_all_colours():
    picture = np.zeros((40, 120, 3), np.uint8)
    legend = [(f"vertebra {number}", (10 * number, 200, 50)) for number in range(1, 9)]
    figure = laid_out([[picture]], ["X-ray"], ["Result"], legend)
    assert figure.shape[1] == laid_out([[picture]], ["X-ray"], ["Result"]).shape[1]
    for _, color in legend:
        assert (figure == color).all(axis=2).sum() > 50


def test_names_with_accents_are_written_and_without_a_font_for_them_lose_only_these(monkeypatch):
    monkeypatch.setattr(figure_layout, "_FONTS", ("no such font.ttf",))
    assert Lettering.of("Wirbel fünf").text == "Wirbel funf"
    assert Lettering.of("第五 L5").text == "?? L5"
