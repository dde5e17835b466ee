"""A picture of cases of the robust protocol that are hard to find, the truth beside what is found.

    .venv/bin/python Testing/benchmarks/failing.py lidc_0350.nii.gz:hard:66:0 ... -o failing.png

Each argument is a CT's file, an effect, a seed and the number of a case. The CTs of the published picture, which stands
beside this file, are of LIDC-IDRI (CC BY 3.0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from XrayCTRegistrationLib.evaluation.protocol import disagreeing_case
from XrayCTRegistrationLib.evaluation.subject import Subject
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.overlay import OverlayView, overlay_figure, overlay_projector
from XrayCTRegistrationLib.registration import Settings, problem_of, register
from XrayCTRegistrationLib.search.search_range import SearchRange

_TITLES = ("X-ray", "True pose", "Found", "DRR where it was found")
_SMALLER = 0.5  # the file's picture
_GREY, _GREEN = np.linspace(0, 255, 24), np.array([40, 235, 80])  # its colours, with blends of the green with black


def main() -> None:
    """Register the cases, and write the picture."""
    parser = argparse.ArgumentParser(description="A picture of cases of the robust protocol.")
    parser.add_argument("cases", nargs="+", metavar="CT:EFFECT:SEED:NUMBER")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_suffix(".png"))
    options = parser.parse_args()
    rows = []
    for case in options.cases:
        path, effect, seed, number = case.rsplit(":", 3)
        rows.append(pictured(Path(path), effect, int(seed), int(number)))
    widest = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), mode="edge") for row in rows]
    picture = ImageOps.scale(Image.fromarray(np.concatenate(rows)), _SMALLER)
    colors = Image.new("P", (1, 1))
    colors.putpalette([*np.repeat(_GREY, 3).astype(int), *np.outer(np.arange(1, 9) / 8, _GREEN).astype(int).ravel()])
    picture.quantize(palette=colors, dither=Image.Dither.NONE).save(options.output, optimize=True)


def pictured(path: Path, effect: str, seed: int, number: int) -> np.ndarray:
    """One case in a row, uint8 (rows, columns, 3); prints what came out."""
    subject = Subject(path.name, read_ct(path))
    case = disagreeing_case(subject, number, seed, effect)
    settings = Settings(search=SearchRange(), seed=seed)
    result = register(case.given, case.radiographs, case.views, case.start, settings)
    error_mm, level = case.error_of(result.pose).mtre_mm, result.confidence.level
    print(f"{path.name} {effect} {seed} {number}: {error_mm:.1f} mm, {level}: {result.confidence.reason}")
    image = problem_of(case.given, case.radiographs, case.views, case.start, settings).images[0]
    shown = OverlayView(f"{path.name.split('.')[0]}, {effect}: {error_mm:.0f} mm, {level!s}", image, case.view)
    return overlay_figure(overlay_projector(case.given), [shown], case.true, result.pose, titles=_TITLES)


if __name__ == "__main__":
    main()
