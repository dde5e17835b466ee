"""Bones of one CT, each with a pose of its own: closed forms, and input that cannot be registered."""

from __future__ import annotations

import colorsys
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from XrayCTRegistrationLib.bones import anatomy
from XrayCTRegistrationLib.bones.anatomy import taken_apart, taken_apart_steps
from XrayCTRegistrationLib.bones.colors import colored
from XrayCTRegistrationLib.bones.names import chosen, file_names, holding_names, settled
from XrayCTRegistrationLib.bones.registration import bones_steps, register_bones
from XrayCTRegistrationLib.bones.segments import Segment, place_in
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, view_from_carm
from XrayCTRegistrationLib.io.label_files import read_segments
from XrayCTRegistrationLib.projector import projector_for
from XrayCTRegistrationLib.registration import Settings, centered
from XrayCTRegistrationLib.state import RegistrationState, finished
from XrayCTRegistrationLib.volume import Volume, per_mm
from XrayCTRegistrationLib.xray import Polarity, Radiograph

SIZE = 64  # voxels of 2 mm along each side
TO_WORLD = np.diag([2.0, 2.0, 2.0, 1.0])
CENTERS = {"first": (44.0, 64.0, 64.0), "second": (88.0, 60.0, 68.0)}
VIEW = view_from_carm(
    {
        "source_to_detector_mm": 1000.0,
        "source_to_isocenter_mm": 700.0,
        "pixel_spacing_mm": [1.5, 1.5],
        "image_size_px": [160, 160],
        "view": "PA",
    }
)


def ellipsoids(moved: dict[str, Pose]) -> Volume:
    """A block of water that holds two dense, lopsided ellipsoids; some of them moved. Edges are a voxel wide."""
    points = np.stack(np.meshgrid(*[2.0 * np.arange(SIZE)] * 3, indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 3)
    array = np.where((np.abs(points - 63) < 56).all(axis=1), 0.0, -1000.0)
    for name, center in CENTERS.items():
        there = moved.get(name, Pose(np.eye(4))).inverse().apply(points) - center
        for shift, axes in (((0, 0, 0), (12, 8, 16)), ((6, 4, 12), (5, 9, 4))):
            radius = np.linalg.norm((there - shift) / axes, axis=1)
            array = np.maximum(array, 900 * np.clip((1 - radius) * min(axes) / 2 + 0.5, 0, 1))
    return Volume(array.reshape(SIZE, SIZE, SIZE).astype(np.float32), TO_WORLD)


def segment_of(name: str) -> Segment:
    only = ellipsoids({other: Pose.from_parts(np.eye(3), np.array([1e4, 0, 0])) for other in CENTERS if other != name})
    return Segment(name, Volume(only.array > 300, TO_WORLD))


def xray_of(body: Volume, pose: Pose) -> Radiograph:
    drawn = projector_for(Volume(per_mm(body.array), body.ijk_to_world), "cpu")
    line_integrals = drawn.images(torch.from_numpy(pose.matrix.copy())[None], VIEW)[0].numpy()
    return Radiograph(np.exp(-line_integrals).astype(np.float32), polarity=Polarity.DARK)


def in_plane_mm(found: Pose, true: Pose, center: tuple[float, float, float]) -> float:
    points = np.array(center) + 10 * np.concatenate([np.eye(3), -np.eye(3)])
    ray = VIEW.isocenter - VIEW.source
    ray = ray / np.linalg.norm(ray)
    apart = found.apply(points) - true.apply(points)
    return float(np.linalg.norm(apart - np.outer(apart @ ray, ray), axis=1).mean())


def test_a_bone_that_moved_alone_is_found_and_its_neighbour_stays():
    ct, pose = ellipsoids({}), centered(ellipsoids({}), [VIEW])
    motion = Pose(np.eye(4)).moved(np.array([0, np.radians(4.0), 0, 2.0, 0, 1.5]), np.array(CENTERS["second"]))
    radiograph = xray_of(ellipsoids({"second": motion}), pose)
    settings = Settings(method="gradient")
    found = register_bones(ct, [radiograph], [VIEW], [segment_of(name) for name in CENTERS], pose, settings)
    first, second = found.bones
    before = in_plane_mm(found.whole.pose, pose @ motion, CENTERS["second"])
    after = in_plane_mm(second.pose, pose @ motion, CENTERS["second"])
    assert before > 1.0  # one pose for all is wrong
    assert after < 0.4  # a fifth of a voxel, from pixels of 1.5 mm, with the prior's pull
    assert in_plane_mm(first.pose, pose, CENTERS["first"]) < 0.4


def test_a_bone_that_no_xray_shows_stays_with_the_ct_and_says_so():
    ct = ellipsoids({})
    pose = centered(ct, [VIEW])
    mask = np.ones((160, 160), np.uint8)
    pixels, _ = VIEW.project_points(pose.apply(np.array([CENTERS["second"]])))
    column = int(pixels[0, 0])
    mask[:, max(column - 35, 0) : column + 35] = 0
    segments = [segment_of(name) for name in CENTERS]
    found = register_bones(ct, [xray_of(ct, pose)], [VIEW], segments, pose, Settings(method="gradient"), [mask])
    assert found.bones[0].shown == (0,)
    assert found.bones[1].shown == ()
    assert found.bones[1].evidence is None
    np.testing.assert_array_equal(found.bones[1].pose.matrix, found.whole.pose.matrix)


def test_a_segment_that_is_no_bone_is_refused_before_any_pose_is_sought():
    ct, pose = ellipsoids({}), centered(ellipsoids({}), [VIEW])
    water = np.zeros((SIZE, SIZE, SIZE), bool)
    water[10:16, 10:16, 30:40] = True
    liver = Segment("liver", Volume(water, TO_WORLD))
    states: list[RegistrationState] = []
    steps = bones_steps(ct, [xray_of(ct, pose)], [VIEW], [segment_of("first"), liver], pose)
    with pytest.raises(InputError, match="liver: the CT is no denser there than around it"):
        states.extend(steps)
    assert {state.stage for state in states} == {"prepare"}
    assert all(state.pose is pose for state in states)


@pytest.mark.parametrize("method", ["search", "learned"])
def test_a_method_without_refinement_is_refused_for_bones_before_the_ct_is_prepared(method):
    ct, pose = ellipsoids({}), centered(ellipsoids({}), [VIEW])
    steps = bones_steps(ct, [xray_of(ct, pose)], [VIEW], [segment_of("first")], pose, Settings(method=method))
    with pytest.raises(InputError, match=f"The method '{method}' alone is too coarse for bones"):
        next(steps)


def test_a_ct_is_taken_apart_with_a_pause_after_every_filter_and_its_parts_add_up_to_it():
    ct = ellipsoids({})
    attenuation = Volume(per_mm(ct.array), ct.ijk_to_world)
    pauses, steps = 0, taken_apart_steps(attenuation, [segment_of(name) for name in CENTERS])
    while True:
        try:
            next(steps)
        except StopIteration as end:
            apart = end.value
            break
        pauses += 1
    assert pauses >= len(CENTERS) * (1 + 2 + 2 * 3 + 1)  # a bone is placed, distances, two blurs by axis, taken out
    total = apart.rest.array.copy()
    for bone in apart.bones:
        first = np.rint(bone.excess.ijk_to_world[:3, 3] / 2).astype(int)[::-1]
        total[tuple(slice(a, a + n) for a, n in zip(first, bone.excess.array.shape))] += bone.excess.array
    np.testing.assert_allclose(total, attenuation.array, atol=1e-8)  # float32 of some hundredths per mm


def test_a_ct_taken_apart_in_thin_slabs_is_the_same_to_the_last_digit(monkeypatch):
    ct = ellipsoids({})
    uneven = ct.array + np.random.default_rng(0).normal(0, 30, ct.array.shape).astype(np.float32)
    attenuation = Volume(per_mm(uneven), ct.ijk_to_world)
    segments = [segment_of(name) for name in CENTERS]
    whole, in_slabs = [], []
    for found, voxels in ((whole, 10**9), (in_slabs, 1)):
        monkeypatch.setattr(anatomy, "_VOXELS_AT_ONCE", voxels)
        apart = taken_apart(attenuation, segments)
        found += [apart.rest.array, *(bone.excess.array for bone in apart.bones)]
    for one, other in zip(whole, in_slabs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_clear_of_a_segment_is_so_in_slabs_that_hold_none(monkeypatch):
    monkeypatch.setattr(anatomy, "_VOXELS_AT_ONCE", 1)
    segment = np.zeros((9, 5, 6), bool)
    segment[6, 2, 3] = True
    clear = finished(anatomy._clear(segment, np.array([2.0, 1.0, 1.0])))
    away_mm = np.linalg.norm((np.indices(segment.shape).T - (6, 2, 3)) * (2, 1, 1), axis=-1).T
    np.testing.assert_array_equal(clear, away_mm > 3.0)


@pytest.mark.parametrize(("voxels", "message"), [(0, "empty"), (1, "a single voxel")])
def test_a_segment_without_extent_is_refused_by_name(voxels, message):
    mask = np.zeros((8, 8, 8), bool)
    mask[0, 0, :voxels] = True
    with pytest.raises(InputError, match=f"L5: the segment is {message}"):
        place_in(Segment("L5", Volume(mask, TO_WORLD)), ellipsoids({}))


def test_a_segmentation_of_another_place_is_refused():
    far = TO_WORLD.copy()
    far[:3, 3] = 500.0
    with pytest.raises(InputError, match="another CT"):
        place_in(Segment("L5", Volume(np.ones((8, 8, 8), bool), far)), ellipsoids({}))


def test_a_label_map_of_a_flipped_and_finer_grid_takes_the_same_voxels():
    segment = segment_of("first")
    fine = np.repeat(np.repeat(np.repeat(segment.mask.array, 2, 0), 2, 1), 2, 2)[:, :, ::-1]
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[:3, 3] = 2.0 * SIZE - 1.5, -0.5, -0.5
    same, other = (place_in(Segment("x", mask), ellipsoids({})) for mask in (segment.mask, Volume(fine, matrix)))
    whole = np.zeros((2, SIZE, SIZE, SIZE), bool)
    for inside, place in zip(whole, (same, other)):
        inside[place.box] = place.inside
    np.testing.assert_array_equal(*whole)


@pytest.mark.parametrize("thick", [1, 3])
def test_a_coarser_mask_takes_the_same_voxels_whether_or_not_it_is_cropped(thick):
    """A voxel of 8 mm covers four of the CT's: what is cut off the mask's border would be missing from the bone."""
    whole = np.zeros((16, 16, 16), bool)
    whole[5 : 5 + thick, 4:8, 6:11] = True
    matrix = np.diag([8.0, 8.0, 8.0, 1.0])
    matrix[:3, 3] = 3.0, 3.0, 3.0  # a corner of both grids is the same
    cropped = Volume(whole, matrix).cropped(np.array([6, 4, 5]), np.array([10, 7, 4 + thick]))
    places = [place_in(Segment("x", mask), ellipsoids({})) for mask in (Volume(whole, matrix), cropped)]
    taken = np.zeros((2, SIZE, SIZE, SIZE), bool)
    for inside, place in zip(taken, places):
        inside[place.box] = place.inside
    np.testing.assert_array_equal(*taken)
    assert [np.ptp(indices) + 1 for indices in np.nonzero(taken[1])] == [4 * thick, 16, 20]


def test_thirty_bones_have_colours_that_are_told_apart_and_from_the_green_of_the_cts_edges():
    mask = Volume(np.ones((2, 2, 2), bool), np.eye(4))
    own = [(0.4, 1.0, 0.96), (0.4, 0.65, 1.0)]  # of segments, near hues that would be given
    colors = [one.color for one in colored([Segment(str(n), mask, n, own[n] if n < 2 else None) for n in range(30)])]
    apart = [np.abs(np.subtract(a, b)).sum() for k, a in enumerate(colors) for b in colors[:k]]
    assert colors[:2] == own
    assert min(apart) >= 0.2  # of red, green and blue together
    assert not [color for color in colors if 0.25 <= colorsys.rgb_to_hsv(*color)[0] <= 0.45]


def test_names_with_spaces_commas_and_letters_of_any_script_are_found_and_make_files():
    mask = Volume(np.ones((2, 2, 2), bool), np.eye(4))
    segments = [Segment(name, mask, number) for number, name in enumerate(["os capitatum, links", "第五腰椎", "L5"], 1)]
    assert [one.name for one in chosen(segments, ["os capitatum, links", "第五腰椎,vertebrae_L5"], "x")] == [
        "os capitatum, links",
        "第五腰椎",
        "L5",
    ]
    assert file_names(["a/b", "A:B", " "]) == ["a_b", "A_B (2)", "bone"]
    with pytest.raises(InputError, match=r"labels: there is no bone 'L9'\. There are: os capitatum"):
        chosen(segments, ["L9"], "labels")


def test_a_label_maps_numbers_are_named_by_a_file_or_by_totalsegmentator(tmp_path):
    array = np.zeros((4, 4, 4), np.uint8)
    array[0, :2], array[2, :2] = 27, 28
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "labels.nii.gz"))
    (tmp_path / "names.json").write_text(json.dumps({"27": "fünfter Lendenwirbel"}), encoding="utf-8")
    assert [one.name for one in read_segments(tmp_path / "labels.nii.gz")] == ["L5", "L4"]
    named = read_segments(tmp_path / "labels.nii.gz", tmp_path / "names.json")
    assert [one.name for one in named] == ["fünfter Lendenwirbel", "28"]  # where some have names, those alone


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        ((27, 28, 5), ["5", "L5", "L4"]),  # TotalSegmentator's, with an organ
        ((20, 26, 5), ["5", "20", "26"]),  # VerSe's L1 and sacrum
        ((25, 27, 5), ["5", "sacrum", "L5"]),
    ],
)
def test_totalsegmentators_names_hold_only_where_no_other_label_is_bone(tmp_path, caplog, numbers, names):
    ct = ellipsoids({})
    array = np.zeros(ct.array.shape, np.uint8)
    for number, name in zip(numbers, CENTERS):
        array[segment_of(name).mask.array] = number
    array[10:16, 10:16, 30:40] = numbers[2]  # water
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    attenuation = Volume(per_mm(ct.array), ct.ijk_to_world)
    with caplog.at_level("INFO"):
        found = settled(read_segments(tmp_path / "labels.nii.gz"), attenuation, "labels.nii.gz")
    assert [one.name for one in found] == names
    said = (
        "names are not used, since too many labels that are none of its bones are dense in this CT: 20."
        if 20 in numbers
        else "labels.nii.gz: names of bones are TotalSegmentator's for their numbers."
    )
    assert said in caplog.text


@pytest.mark.parametrize(
    ("numbers", "dense", "holds"),
    [
        (range(1, 118), [2, 3, 17, *range(25, 70)], True),  # kidneys, thyroid, heart and vessels hold contrast medium
        ([27, 28, 52, 53], [27, 28, 52], False),  # half of the organs are dense: no telling
        ([24, 25, 26], [24, 25, 26], False),  # VerSe: L5, L6, sacrum
        (range(1, 30), range(1, 30), False),  # the bones of a hand
        (range(1, 105), [*range(18, 33), *range(58, 76)], False),  # TotalSegmentator's first version, of a thorax
    ],
)
def test_contrast_medium_in_organs_is_no_other_numbering(numbers, dense, holds):
    assert bool(holding_names(list(numbers), list(dense), "labels")) is holds


def test_an_image_is_no_label_map(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 4, 4), 0.5, np.float32)), str(tmp_path / "ct.nrrd"))
    with pytest.raises(InputError, match=r"ct\.nrrd: the values are not all whole numbers"):
        read_segments(tmp_path / "ct.nrrd")
