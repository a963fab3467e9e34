"""The package's own source, read as syntax trees: what the tests of layout and of docs walk.

Nothing is imported or run, so a module is seen whole, imports inside functions included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "sightloop"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package.

    Attributes:
        path: Relative to the package's folder, such as `vision/decode.py`.
        text: What stands in it.
        tree: The same, parsed.
    """

    path: Path
    text: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: `name` in full, at `line`."""

    name: str
    line: int


def package_folder() -> Path:
    """The folder of the package that is imported now."""
    return Path(__file__).resolve().parents[1]


def read_modules(folder: Path) -> tuple[Module, ...]:
    """Every module below `folder`, by path."""
    modules = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        modules.append(Module(path.relative_to(folder), text, ast.parse(text, str(path))))
    return tuple(modules)


def imports_of(tree: ast.AST) -> Iterator[Import]:
    """Every import anywhere in `tree`; `from a import b` gives `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            yield Import("." * node.level + (node.module or ""), node.lineno)


def length_of(node: Function | ast.ClassDef) -> int:
    """Lines from `def` or `class` to the end, the docstring's apart."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def attribute_uses(tree: ast.AST, owner: str) -> Iterator[tuple[str, int]]:
    """Names taken from the module `owner` and their lines: `owner.name` and `from owner import`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == owner:
                yield node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == owner and node.level == 0:
            for alias in node.names:
                yield alias.name, node.lineno
