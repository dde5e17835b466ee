"""The picture of five vertebrae in the tutorial: `make bones-picture CT=ct.nii.gz LABELS=labels.nii.gz`.

Vertebrae of a chest CT are moved, each on its own, an X-ray of that is simulated, and the CT and its vertebrae are
registered to it. Written into Resources/Screenshots/: bones.png. The published one is of LIDC-IDRI-0001.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image
from screenshots import FOLDER, REPOSITORY
from XrayCTRegistrationLib.bones.anatomy import is_bone, taken_apart
from XrayCTRegistrationLib.bones.colors import colored
from XrayCTRegistrationLib.bones.names import chosen
from XrayCTRegistrationLib.bones.overlay import DrawnBone, bones_figure
from XrayCTRegistrationLib.bones.registration import register_bones
from XrayCTRegistrationLib.evaluation.moved_bones import spline_line_integrals, with_bones_moved
from XrayCTRegistrationLib.figure_layout import Rgb
from XrayCTRegistrationLib.geometry import Pose, view_from_carm
from XrayCTRegistrationLib.io.label_files import read_segments
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.metrics import pose_error
from XrayCTRegistrationLib.overlay import OverlayView
from XrayCTRegistrationLib.registration import Settings
from XrayCTRegistrationLib.simulation import detector_counts
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.volume import prepared_attenuation
from XrayCTRegistrationLib.xray import Polarity, Radiograph, xray_image

VERTEBRAE = "T8,T9,T10,T11,T12"
VIEW = {
    "source_to_detector_mm": 1020,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [0.6, 0.6],
    "image_size_px": [400, 400],
    "view": "PA",
}
TURN_DEG, SHIFT_MM = 3.0, 2.0  # standard deviations of each vertebra's motion
PHOTONS = 5e6  # so many that there is no noise to see, which would make the file large
SEED = 3
GREYS, MOST_BYTES = 40, 60_000
GAP_PX, TITLES_PX, LEGEND_PX = 8, 52, 26  # of the figure: before each picture, heights of titles and legend
SPINE_PX = 120, 392  # from the first column of a picture, of 480


def main(ct_file: str, labels_file: str) -> None:
    ct, segments = read_ct(ct_file), read_segments(labels_file)
    bones = colored(chosen(segments, [VERTEBRAE], labels_file))
    view, random = view_from_carm(VIEW), np.random.default_rng(SEED)
    motions = [_motion(bone.mask.center, random) for bone in bones]
    middle = np.mean([bone.mask.center for bone in bones], axis=0)
    true = Pose.from_parts(np.eye(3), view.isocenter - middle)
    body = with_bones_moved(ct, bones, motions)
    counts = detector_counts(spline_line_integrals(body, [view], true)[0], PHOTONS, random)
    radiograph = Radiograph(counts, "simulated.png", Polarity.DARK)
    start = true.moved(np.array([0.03, 0.03, -0.03, 3.0, -2.0, 4.0]), view.isocenter)
    attenuation = finished(prepared_attenuation(ct))
    names = {bone.name for bone in bones}
    others = [one for one in segments if one.name not in names and is_bone(attenuation, one)]
    found = register_bones(ct, [radiograph], [view], bones, start, Settings(), others=others)
    for bone, motion, result in zip(bones, motions, found.bones):
        points = bone.mask.points(np.argwhere(bone.mask.array)[::50, ::-1])
        errors = [
            pose_error(pose, true @ motion, points, view, bone.mask.center) for pose in (found.whole.pose, result.pose)
        ]
        before, after = (f"{one.mtre_mm:.1f} mm off, {one.depth_mm:.1f} of it in depth" for one in errors)
        print(f"{bone.name}: {before}, with the CT in one piece; {after}, bone by bone")
    bodies = taken_apart(attenuation, bones, others).bones
    rows = zip(bodies, bones, found.bones)
    drawn = [DrawnBone.of(body, bone.color, result.pose) for body, bone, result in rows]
    shown = OverlayView("", xray_image(radiograph, Polarity.DARK), view)
    save(about_the_spine(bones_figure([shown], drawn, found.whole.pose)), [bone.rgb for bone in drawn])


def about_the_spine(figure: np.ndarray) -> np.ndarray:
    """The figure of bones without the X-ray alone, of the other two pictures the columns about the spine, with its
    legend below."""
    width = (figure.shape[1] - GAP_PX) // 3
    titles, pictures, legend = np.split(figure, [TITLES_PX, figure.shape[0] - LEGEND_PX])
    columns = []
    for column in (1, 2):
        left = column * width
        about = pictures[:, left + SPINE_PX[0] : left + SPINE_PX[1]]
        title = titles[:, left : left + about.shape[1]]
        gap = np.full((len(title) + len(about), GAP_PX, 3), figure[0, 0])
        columns += [gap, np.vstack([title, about])]
    whole = np.hstack(columns)
    return np.vstack([whole, legend[:, : whole.shape[1]]])


def _motion(center: np.ndarray, random: np.random.Generator) -> Pose:
    twist = np.concatenate([np.radians(random.normal(0, TURN_DEG, 3)), random.normal(0, SHIFT_MM, 3)])
    return Pose.identity().moved(twist, center)


def save(figure: np.ndarray, colors: list[Rgb]) -> None:
    """Write the figure in greys and the colours of the bones, which a palette of the commonest colours would lose."""
    path = FOLDER / "bones.png"
    palette = Image.new("P", (1, 1))
    greys = np.repeat(np.rint(np.linspace(0, 255, GREYS)).astype(int)[:, None], 3, axis=1)
    palette.putpalette(np.concatenate([greys, colors]).astype(np.uint8).tobytes())
    picture = Image.fromarray(figure).quantize(palette=palette, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(REPOSITORY)}: {figure.shape[1]} x {figure.shape[0]}, {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        sys.exit(f"{path} is larger than {MOST_BYTES} bytes.")


if __name__ == "__main__":
    main(*sys.argv[1:])
