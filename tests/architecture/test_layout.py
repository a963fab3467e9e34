"""Where things live: a stranger finds each one where its name says."""

from __future__ import annotations

import ast
from pathlib import Path

from sightloop.testing.source_tree import PACKAGE, imports_of, package_folder, read_modules

MODULES = read_modules(package_folder())
UNIT_TESTS = Path(__file__).resolve().parents[1] / "unit"
TOO_VAGUE = frozenset(
    {"utils", "util", "common", "misc", "base", "manager", "managers", "helpers", "helper", "core"}
)


def test_no_folder_or_file_has_a_name_that_says_nothing() -> None:
    vague = [
        str(module.path)
        for module in MODULES
        if TOO_VAGUE & {*module.path.parts[:-1], module.path.stem}
    ]
    assert not vague


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(module.path) for module in MODULES if not ast.get_docstring(module.tree)]
    assert not silent


def test_nothing_imports_from_the_package_root() -> None:
    importers = [
        f"{module.path}:{found.line}"
        for module in MODULES
        for found in imports_of(module.tree)
        if found.name == PACKAGE
    ]
    assert not importers


def test_imports_name_the_whole_path() -> None:
    relative = [
        f"{module.path}:{found.line}"
        for module in MODULES
        for found in imports_of(module.tree)
        if found.name.startswith(".")
    ]
    assert not relative


def test_unit_tests_mirror_the_files_they_test() -> None:
    folder = package_folder()
    tests = [path.relative_to(UNIT_TESTS) for path in UNIT_TESTS.rglob("test_*.py")]
    orphans = [
        str(test)
        for test in tests
        if not (folder / test.parent / test.name.removeprefix("test_")).is_file()
    ]
    assert not orphans


def test_packages_export_nothing_from_their_init() -> None:
    busy = [
        str(module.path)
        for module in MODULES
        if module.path.name == "__init__.py"
        and len(module.path.parts) > 1
        and len(module.tree.body) > 1
    ]
    assert not busy


def test_every_error_is_in_the_tree_of_errors() -> None:
    strays = [
        f"{module.path}:{node.lineno} {node.name}"
        for module in MODULES
        if module.path.as_posix() != "errors.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and node.name.endswith("Error")
        and not node.name.startswith("_")
    ]
    assert not strays


def test_drawing_of_the_error_tree_names_every_error_once() -> None:
    errors = next(module for module in MODULES if module.path.as_posix() == "errors.py")
    drawing = (ast.get_docstring(errors.tree) or "").split()
    names = [node.name for node in errors.tree.body if isinstance(node, ast.ClassDef)]
    assert {name: drawing.count(name) for name in names} == dict.fromkeys(names, 1)
