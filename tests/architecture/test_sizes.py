"""Nothing grows beyond what a reader can hold: style.md, section 3."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sightloop.testing.source_tree import Function, Module, length_of, package_folder, read_modules

FUNCTION_LINES_MAX = 60
CLASS_LINES_MAX = 300
FILE_LINES_MAX = 500
Modules = tuple[Module, ...]
TESTS = Path(__file__).resolve().parents[1]
FOLDERS = pytest.mark.parametrize(
    "modules", [read_modules(package_folder()), read_modules(TESTS)], ids=["src", "tests"]
)


@FOLDERS
def test_functions_have_at_most_sixty_lines(modules: Modules) -> None:
    too_long = [
        f"{module.path}:{node.lineno} {node.name}: {length_of(node)} lines"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, Function) and length_of(node) > FUNCTION_LINES_MAX
    ]
    assert not too_long


@FOLDERS
def test_classes_have_at_most_three_hundred_lines(modules: Modules) -> None:
    too_long = [
        f"{module.path}:{node.lineno} {node.name}: {length_of(node)} lines"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and length_of(node) > CLASS_LINES_MAX
    ]
    assert not too_long


@FOLDERS
def test_files_have_at_most_five_hundred_lines(modules: Modules) -> None:
    lengths = {module.path: len(module.text.splitlines()) for module in modules}
    assert not {str(path): n for path, n in lengths.items() if n > FILE_LINES_MAX}
