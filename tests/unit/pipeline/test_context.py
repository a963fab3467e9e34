"""Rules of what a step is handed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.errors import ConfigError
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.step import Parameter


def _context(root: Path, **parameters: Parameter) -> StepContext:
    return StepContext(
        inputs={},
        outputs={},
        files={},
        parameters=parameters,
        workspace=open_workspace(root),
        run_id="run-1",
        report=lambda fraction, text: None,
    )


def test_parameters_are_given_in_their_type(tmp_path: Path) -> None:
    context = _context(tmp_path, a="x", b=2, c=0.5, d=True, e=None)
    assert context.text("a") == "x"
    assert context.integer("b") == 2
    assert context.number("b") == 2.0
    assert context.number("c") == 0.5
    assert context.flag("d") is True
    assert context.optional_text("e") is None
    assert context.optional_number("e") is None
    assert context.optional_integer("e") is None


def test_parameter_of_another_type_is_refused_by_name(tmp_path: Path) -> None:
    context = _context(tmp_path, a="x", b=2, d=True)
    for call in (
        lambda: context.integer("a"),
        lambda: context.integer("d"),
        lambda: context.number("d"),
        lambda: context.text("b"),
        lambda: context.flag("b"),
    ):
        with pytest.raises(ConfigError, match="expected") as caught:
            call()
        assert caught.value.reason == "parameter_invalid"


def test_missing_parameter_is_refused_with_those_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'zz' is missing; given are: a, b"):
        _context(tmp_path, a=1, b=2).text("zz")


def test_scratch_is_in_the_workspace_and_gone_afterwards(tmp_path: Path) -> None:
    context = _context(tmp_path)
    with context.scratch() as folder:
        (folder / "x").write_text("x")
        assert folder.is_relative_to(context.run_folder)
    assert not folder.exists()
