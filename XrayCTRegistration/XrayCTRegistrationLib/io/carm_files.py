"""C-arm geometry from and to files, in LPS millimetres: JSON, and to read MayaCam."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import InputError
from ..geometry import XrayView, view_from_carm, view_to_carm
from ..geometry.plausible import check_plausible
from ..xray import Radiograph
from .mayacam import is_mayacam, view_of_mayacam

CARM_SUFFIXES = (".json", ".txt", ".csv")  # of C-arm files; MayaCam comes as text


def read_carm(path: str | Path, image_size_px: tuple[int, int] | None = None) -> XrayView:
    """The view of a C-arm file: JSON, parametric or calibrated, as `geometry.view_from_carm` takes it, or MayaCam.

    image_size_px: (columns, rows) of the image, for MayaCam, see `mayacam.view_of_mayacam`.

    Raises InputError, beginning with the file's name; for broken JSON it names the line, for a length that no
    device has the unit that would fit.
    """
    path = Path(path)
    if path.suffix.lower() == ".cfg":
        raise InputError(
            f"{path.name}: this is a trial, which has several cameras. Give the calibration of this X-ray's camera, "
            "which the trial names at mayaCam_csv."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors put a byte order mark before it
        if is_mayacam(text):
            return view_of_mayacam(text, path.name, image_size_px)
        carm = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path.name}: there is no such file ({path}). Check the path.") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path.name}: line {error.lineno}, column {error.colno} is not valid JSON ({error.msg}). Correct it there."
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise InputError(f"{path.name}: this is no JSON text. Give the C-arm's geometry as a JSON file.") from None
    except OSError as error:
        raise InputError(
            f"{path.name}: cannot be read ({error.strerror}). Give a JSON file that may be read."
        ) from None
    view = view_from_carm(carm, where=path.name)
    check_plausible(carm, where=path.name)
    return view


def read_view(path: str | Path, radiograph: Radiograph) -> XrayView:
    """As `read_carm`, of this X-ray; raises InputError, too, when it is of an image of another size."""
    rows, columns = radiograph.pixels.shape
    view = read_carm(path, (columns, rows))
    check_image_size(radiograph, view, Path(path).name)
    return view


def write_carm(path: str | Path, view: XrayView) -> None:
    """Write the calibrated C-arm JSON of a view; `read_carm` gives the same view back."""
    path = Path(path)
    try:
        path.write_text(json.dumps(view_to_carm(view), indent=2) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"{path.name}: cannot be written ({error.strerror}). Check that the folder {path.parent} exists and may be "
            "written to."
        ) from None


def check_image_size(radiograph: Radiograph, view: XrayView, where: str) -> None:
    """Raise InputError unless the X-ray has as many columns and rows as the geometry says.

    where: the name of the geometry's file or node, with which the message begins.
    """
    rows, columns = radiograph.pixels.shape
    if (columns, rows) == view.size_px:
        return
    if (rows, columns) == view.size_px:
        remedy = (
            f"They are swapped: image_size_px is [columns, rows], here [{columns}, {rows}]; or the X-ray is rotated."
        )
    else:
        remedy = (
            "Give the X-ray as it was acquired, neither cropped nor resized, or the geometry of this very image: "
            "image_size_px with the pixel spacing and principal point, or the matrix, that belong to it."
        )
    raise InputError(
        f"{where}: the geometry is of an image of {view.size_px[0]} x {view.size_px[1]} pixels (columns x rows), but "
        f"{radiograph.where} has {columns} x {rows}. {remedy}"
    )
