"""The page of thresholds: its values are the code's, and every number that decides something stands on it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator

import pytest
from conftest import REPOSITORY

DOCS = REPOSITORY / "Resources" / "docs"
LIBRARY = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistrationLib"

# Numbers of these modules, and of modules below them, decide nothing about poses, confidence or what is read.
DECIDE_NOTHING = {
    "what is drawn and shown": [
        *("panel", "overlay", "edge_lines", "grey", "coarse", "figure_layout"),
        *("bones.colors", "bones.shown", "bones.surface", "evaluation.plot", "evaluation.calibration_report"),
        *("mrml.bone_transforms", "mrml.display", "mrml.models", "mrml.overlay", "mrml.units", "mrml.views"),
        *("mrml.volumes._BONE_WINDOW_HU", "mrml.volumes._BONE_LEVEL_HU", "mrml.xrays", "mrml.calibration"),
        *("io.scene", "io.scene_nodes", "preview._MARGIN_PX", "evaluation.convexity", "search.learned._LIKELY"),
        *("bones.names._LISTED", "bones.segments.MANY", "cli.evaluate_dataset", "cli.train"),
    ],
    "memory, threads and pauses": [
        *("projector", "block_means", "body_box", "io.bundle_files", "io.stored_floats"),
        *("evaluation.runner", "io.dicom_files._FOLDERS", "mrml.history._MOST"),
        *("bones.anatomy._MOST_POINTS", "bones.joints._POINTS", "evaluation.bones_protocol._MOST_POINTS"),
        *("cli._OBJECTS_BETWEEN_COLLECTIONS", "cli.loading._PATIENCE_S", "threads"),
        *("metrics._MAX_POINTS", "evaluation.datasets.utrecht._MAX_POINTS"),
    ],
    "files' layouts, anatomy's names, axes": [
        *("io.png", "io.poses", "io.stored_voxels", "mrml.frames", "cli.exit_codes", "io.dicom_geometry"),
        *("io.dicom_files._LAST_FIRST_ELEMENT", "io.dicom_files._LONGEST_FIRST", "io.dicom_files._PREAMBLE"),
        *("io.mayacam._BLOCKS", "io.mayacam._LINES_OF_1", "io.nifti._LPS_FROM_RAS"),
        *("geometry.carm._PRIMARY_ANGLE_OF_VIEW", "geometry.orientation._DIRECTIONS", "geometry.plausible._UNITS_MM"),
        *("mrml.poses", "hounsfield.AIR_HU"),
        *("field.evidence._PROFILE_PX", "field.evidence._WINDOWS", "field.evidence.NONE", "search.descent._UNKNOWN"),
        *("search.sobol", "search.soft_tissue._APART", "mrml.segments._NOTHING"),
    ],
    "guards of arithmetic and rounding": [
        *(
            "calibrated._LEAST_MM",
            "levels.LEAST_CURVATURE",
            "search.feature_descent._LEAST_CURVATURE",
            "search.descent._VALLEY_DAMPING",
            "weights._FAR",
        ),
        *("mrml.results", "mrml.start", "mrml.history._SAME", "mrml.segments._SAME"),
    ],
    "phantoms, samples, and X-rays that are simulated": [
        *("phantom", "mrml.sample", "cli.demo", "cli.simulate", "cli.evaluate", "simulation", "realism"),
        *("evaluation.bodies", "evaluation.exposures", "evaluation.moved_bones", "evaluation.subject"),
        *("evaluation.protocol.CARM", "cli.evaluate_bones"),
    ],
    "the networks, which are what they were trained as": ["networks", "training", "losses"],
}


@pytest.fixture(scope="module")
def thresholds():
    spec = importlib.util.spec_from_file_location("thresholds", DOCS / "thresholds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "thresholds.md").read_text(encoding="utf-8")


def test_the_values_are_those_of_the_code(thresholds, page):
    assert thresholds.with_values(page) == page, "run make api"


def test_a_name_stands_on_the_page_once_and_the_code_has_it(thresholds, page):
    names = thresholds.names(page)
    assert len(names) > 200
    assert sorted(set(names)) == sorted(names)
    with pytest.raises(AttributeError, match="no_such"):
        thresholds.constant("similarity.no_such")


def test_every_row_says_how_it_was_chosen_and_what_changes(thresholds, page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(thresholds.names(page))
    for row in rows:
        assert all(cell.strip() for cell in row.strip("|").split(" | ")), row
        assert row.count(" | ") == 3, row


def test_every_number_that_decides_something_stands_on_the_page(thresholds, page):
    listed, spared = thresholds.names(page), [one for group in DECIDE_NOTHING.values() for one in group]
    missing = [
        name
        for name in numbers()
        if not name.endswith("_AT_ONCE")
        and not any(_within(one, name) for one in listed)
        and not any(_within(name, one) for one in spared)
    ]
    assert not missing, "name them in Resources/docs/thresholds.md, or above where they decide nothing"


def test_what_is_said_to_decide_nothing_is_there_and_not_on_the_page(thresholds, page):
    listed, known = thresholds.names(page), list(numbers())
    spared = [one for group in DECIDE_NOTHING.values() for one in group]
    assert not [one for one in spared if any(_within(name, one) for name in listed)]
    assert not [one for one in spared if not any(_within(name, one) for name in known)]


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def numbers() -> Iterator[str]:
    """Names of what modules of the library hold that is made of numbers."""
    for path in sorted(LIBRARY.rglob("*.py")):
        module = ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign):
                targets = statement.targets
            elif isinstance(statement, ast.AnnAssign) and statement.value:
                targets = [statement.target]
            else:
                continue
            for target, value in _pairs(targets[0], statement.value):
                if isinstance(target, ast.Name) and _is_number(value):
                    yield f"{module}.{target.id}"


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts))
    return [(target, value)]


def _is_number(value: ast.expr) -> bool:
    """Whether numbers are all that an expression is made of, or all that a call in it is given."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, (int, float)) and not isinstance(value.value, bool)
    if isinstance(value, ast.UnaryOp):
        return _is_number(value.operand)
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) or _is_number(value.right)
    if isinstance(value, (ast.Tuple, ast.List)):
        return any(_is_number(one) for one in value.elts)
    if isinstance(value, ast.Dict):
        return any(_is_number(one) for one in value.values)
    if isinstance(value, ast.Call):
        return any(_is_number(one) for one in [*value.args, *(keyword.value for keyword in value.keywords)])
    return False
