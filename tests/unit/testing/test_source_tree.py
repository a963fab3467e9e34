from __future__ import annotations

import ast
from pathlib import Path

from sightloop.testing.source_tree import (
    attribute_uses,
    imports_of,
    length_of,
    package_folder,
    read_modules,
)

TEXT = '''
import os.path
from . import sibling


class Thing:
    """A class
    of two lines."""

    value = 1


def act():
    import torch
    from time import sleep as nap

    return os.environ, nap
'''


def test_imports_inside_functions_are_seen() -> None:
    names = [found.name for found in imports_of(ast.parse(TEXT))]
    assert sorted(names) == [".", "os.path", "time", "torch"]


def test_docstring_does_not_count_as_length() -> None:
    thing, act = ast.parse(TEXT).body[2:]
    assert isinstance(thing, ast.ClassDef)
    assert isinstance(act, ast.FunctionDef)
    assert (length_of(thing), length_of(act)) == (3, 5)


def test_both_ways_of_taking_a_name_from_a_module_are_seen() -> None:
    tree = ast.parse(TEXT)
    assert [name for name, _ in attribute_uses(tree, "os")] == ["environ"]
    assert [name for name, _ in attribute_uses(tree, "time")] == ["sleep"]


def test_every_file_of_the_package_is_read() -> None:
    paths = {module.path for module in read_modules(package_folder())}
    assert {Path("errors.py"), Path("vision/decode.py"), Path("cli/main.py")} <= paths
