"""The extension's files: what is not listed is not packaged, and what the Extensions Index asks for."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import REPOSITORY

MODULE = REPOSITORY / "XrayCTRegistration"
WITH_SLICER = {"numpy", "scipy", "SimpleITK", "pydicom", "vtk", "slicer", "qt", "ctk", "packaging", "PyTorchUtils"}


def on_disk(folder: str, pattern: str) -> set[str]:
    found = (MODULE / folder).rglob(pattern)
    return {
        path.relative_to(MODULE).as_posix()
        for path in found
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".nbi", ".nbc")
    }


def listed(variable: str) -> set[str]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    block = re.search(rf"set\({variable}\n(.*?)\n  \)", text, re.DOTALL)[1]
    names = [line.strip().replace("${MODULE_NAME}", "XrayCTRegistration") for line in block.splitlines()]
    assert len(names) == len(set(names)), "a file is listed twice"
    return set(names)


def test_every_python_file_of_the_library_is_packaged():
    assert listed("MODULE_PYTHON_SCRIPTS") == {"XrayCTRegistration.py"} | on_disk("XrayCTRegistrationLib", "*.py")


def test_every_resource_is_packaged():
    assert listed("MODULE_PYTHON_RESOURCES") == on_disk("Resources", "*") | on_disk(
        "XrayCTRegistrationLib", "*.json"
    ) | {"XrayCTRegistrationLib/py.typed"}


def test_the_tests_run_inside_slicer_are_named():
    text = (MODULE / "Testing" / "Python" / "CMakeLists.txt").read_text(encoding="utf-8")
    named = set(re.findall(r"slicer_add_python_unittest\(SCRIPT (\S+)\)", text))
    assert named == {path.name for path in (MODULE / "Testing" / "Python").glob("*.py")}
    module = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "WITH_GENERIC_TESTS" in module
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in module


def test_the_extension_is_built_in_the_order_of_the_template():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    steps = [
        "project(XrayCTRegistration)",
        "find_package(Slicer REQUIRED)",
        "include(${Slicer_USE_FILE})",
        "add_subdirectory(XrayCTRegistration)",
        "## NEXT_MODULE",
        "include(${Slicer_EXTENSION_GENERATE_CONFIG})",
        "include(${Slicer_EXTENSION_CPACK})",
    ]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert re.search(rf'^set\(EXTENSION_{name} "[^"]+"\)$', text, re.MULTILINE), name
    assert re.search(r'EXTENSION_ICONURL "https://\S+\.png"', text)


def test_the_entry_for_the_extensions_index():
    path = REPOSITORY / "XrayCTRegistration.json"
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert path.stem == "XrayCTRegistration"
    assert not path.stem.startswith("Slicer")
    known = {
        "$schema",
        "category",
        "scm_url",
        "scm_revision",
        "scm_type",
        "build_dependencies",
        "dicom_support_rule",
        "build_subdirectory",
        "enabled",
        "tier",
    }
    assert set(entry) <= known
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert re.fullmatch(r"https://\S+/slicer-extension-catalog-entry-schema-v1\.0\.\d\.json#", entry["$schema"])
    assert entry["category"] == "Registration"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert re.fullmatch(r"https://\S+\.git", entry["scm_url"])
    assert entry["tier"] in range(1, 6)


def test_the_licence_stands_where_the_index_looks():
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text(encoding="utf-8")


def test_the_icon_is_a_png_of_at_least_128_pixels():
    content = (MODULE / "Resources" / "Icons" / "XrayCTRegistration.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width == height >= 128


def imported_at_file_scope(path) -> set[str]:
    """Top-level names of absolute imports that run when a file is imported."""
    names = set()
    nodes = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.If) and getattr(node.test, "id", "") != "TYPE_CHECKING":
            nodes += [*node.body, *node.orelse]
        elif isinstance(node, (ast.Try, ast.With, ast.ClassDef)):
            nodes += node.body
    return names


def test_loading_the_module_imports_no_more_of_the_library_than_its_names():
    """What is imported when 3D Slicer starts slows down its start."""
    assert imported_at_file_scope(MODULE / "XrayCTRegistration.py") <= {"os", "sys", "typing", "unittest", "slicer"} | {
        "XrayCTRegistrationLib"
    }
    files = library_files_imported_by(MODULE / "XrayCTRegistration.py")
    assert {path.relative_to(MODULE).as_posix() for path in files} == {"XrayCTRegistrationLib/panel/choices.py"}
    assert imported_at_file_scope(files[0]) == {"__future__", "enum", "slicer", "typing"}


def test_loading_and_opening_the_module_imports_nothing_that_does_not_come_with_slicer():
    """Followed through the library's own imports, as Python does it."""
    import sys

    opened = MODULE / "XrayCTRegistrationLib" / "panel" / "panel.py"  # imported when the module is opened
    waiting, seen, foreign = [MODULE / "XrayCTRegistration.py", opened], set(), {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        others = imported_at_file_scope(path) - {"XrayCTRegistrationLib"} - set(sys.stdlib_module_names)
        if others - WITH_SLICER:
            foreign[path.name] = sorted(others - WITH_SLICER)
        waiting += library_files_imported_by(path)
    assert len(seen) > 20  # it did follow
    assert not foreign


def test_the_panels_files_do_not_import_each_other_in_a_circle():
    """Sections know what is chosen, not the panel that puts them together."""
    waiting = {
        path: {other for other in library_files_imported_by(path) if other.parent == path.parent} - {path}
        for path in (MODULE / "XrayCTRegistrationLib" / "panel").glob("*.py")
        if path.name != "__init__.py"
    }
    while ready := [path for path, needed in waiting.items() if not needed & waiting.keys()]:
        for path in ready:
            del waiting[path]
    assert not waiting


def library_files_imported_by(path) -> list:
    """Files of the library that importing a file imports, its packages' __init__ included."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = path.parents[node.level - 1]
        elif node.module.partition(".")[0] == "XrayCTRegistrationLib":
            base = MODULE
        else:
            continue
        target = base.joinpath(*(node.module or "").split("."))
        for candidate in (target, *(target / alias.name for alias in node.names)):
            package = candidate / "__init__.py"
            if package.is_file():
                found.append(package)
            elif candidate.with_suffix(".py").is_file():
                found.append(candidate.with_suffix(".py"))
    return found


def test_requirements_are_ranges_of_wheels_without_torch():
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    for line in requirements:
        assert re.fullmatch(r"[a-z0-9_-]+>=[0-9.]+", line), line
        assert not line.startswith("torch")


def test_text_files_have_unix_line_ends():
    try:
        names = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout of git")
    for name in names.splitlines():
        path = REPOSITORY / name
        if path.suffix not in (".png", ".safetensors") and path.is_file():
            assert b"\r" not in path.read_bytes(), name


def test_every_node_selector_knows_the_scene_and_every_parameter_has_a_widget():
    root = ElementTree.parse(MODULE / "Resources" / "UI" / "XrayCTRegistration.ui").getroot()
    selectors = {widget.get("name") for widget in root.iter("widget") if widget.get("class") == "qMRMLNodeComboBox"}
    connected = {connection.findtext("receiver") for connection in root.iter("connection")}
    assert selectors <= connected
    bound = {prop.findtext("string") for prop in root.iter("property") if prop.get("name") == "SlicerParameterName"}
    tree = ast.parse((MODULE / "XrayCTRegistration.py").read_text(encoding="utf-8"))
    wrapper = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("ParameterNode"))
    parameters = {node.target.id for node in wrapper.body if isinstance(node, ast.AnnAssign)}
    assert bound == parameters


def test_every_widget_that_can_be_used_says_what_it_is_for():
    root = ElementTree.parse(MODULE / "Resources" / "UI" / "XrayCTRegistration.ui").getroot()
    used = {"qMRMLNodeComboBox", "QPushButton", "QComboBox", "QCheckBox", "QDoubleSpinBox", "QSpinBox"}
    used |= {"ctkSliderWidget", "ctkPathLineEdit", "QTableWidget", "QListWidget", "QToolButton"}
    usable = {widget.get("name"): widget for widget in root.iter("widget") if widget.get("class") in used}
    for name, widget in usable.items():
        assert any(prop.get("name") == "toolTip" for prop in widget.findall("property")), name
    order = [stop.text for stop in root.iter("tabstop")]
    assert set(order) == set(usable)
