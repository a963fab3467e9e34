"""The mutants follow the code: their text stands where they say, and so do their tests."""

from __future__ import annotations

import ast
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sightloop.testing.source_tree import package_folder

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = runpy.run_path(str(ROOT / "tests/mutants/run.py"))["MUTANTS"]
EVERY_MUTANT = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
ASKED_FOR = {
    "label read apart from the session",
    "publish before ready",
    "no drain",
    "verification skipped",
    "NMS across classes",
    "2 px shift",
    "cache that ignores the code's digest",
}


def test_every_promised_mutant_is_there_once() -> None:
    names = Counter(mutant.name for mutant in MUTANTS)
    assert set(names) >= ASKED_FOR
    assert set(names.values()) == {1}


@EVERY_MUTANT
def test_text_of_a_mutant_stands_once_and_its_replacement_is_code(mutant: Any) -> None:
    text = (package_folder() / mutant.file).read_text()
    assert text.count(mutant.text) == 1
    changed = text.replace(mutant.text, mutant.replacement)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


@EVERY_MUTANT
def test_test_that_guards_against_a_mutant_exists(mutant: Any) -> None:
    file, _, name = mutant.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
