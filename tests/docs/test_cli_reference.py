"""docs/reference/cli.md says every command, argument, option and exit code, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sightloop.cli import main
from sightloop.errors import SightloopError
from sightloop.testing.markdown import Section, code_of, fences_of, rows_of, sections_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "reference/cli.md").read_text()
SECTIONS = {section.title: section for section in sections_of(PAGE) if section.level == 2}


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(main.app), ("sightloop",)))


def section_of(name: str) -> Section:
    return SECTIONS[f"`{name}`"]


def test_every_command_has_its_section_and_no_other_has() -> None:
    documented = {title.strip("`") for title in SECTIONS if title.startswith("`")}
    assert documented == set(COMMANDS)


def stated_in(name: str) -> dict[str, str]:
    """Default by argument or option, as the page says it."""
    rows = rows_of(section_of(name).body)
    return {re.split(r"[ …]", code_of(row[0])[0])[0]: row[1] for row in rows}


def word_of(parameter: Any) -> str:
    """An argument in capitals, an option with its dashes."""
    is_argument = parameter.param_type_name == "argument"
    return str(parameter.name.upper() if is_argument else parameter.opts[0])


@pytest.mark.parametrize("name", COMMANDS)
def test_rows_are_the_arguments_and_options_of_the_command(name: str) -> None:
    known = {word_of(parameter) for parameter in COMMANDS[name].params}
    assert set(stated_in(name)) == known - {"--help"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_with_its_output(name: str) -> None:
    examples = fences_of(section_of(name).body)
    assert any(
        f"$ {name}" in example and len(example.strip().splitlines()) > 1 for example in examples
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_are_those_of_the_code(name: str) -> None:
    stated = stated_in(name)
    for parameter in COMMANDS[name].params:
        default = parameter.default
        if parameter.required:
            expected = "required"
        elif default is None or default is False:
            expected = ""
        else:
            expected = f"`{getattr(default, 'value', default)}`"
        if (word := word_of(parameter)) != "--help":
            assert stated[word] == expected, word


def test_exit_codes_are_those_of_the_root_command() -> None:
    known = {0, 1, main.EXIT_INTERRUPTED, *(code for _, code in main._EXIT_CODES)}
    stated = {int(row[0]) for row in rows_of(SECTIONS["Exit codes"].body)}
    assert stated == known


def subclasses(kind: type[SightloopError]) -> Iterator[type[SightloopError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


def test_every_error_has_an_exit_code_of_its_own_kind() -> None:
    unmapped = [
        kind.__name__
        for kind in subclasses(SightloopError)
        if kind.__module__ == "sightloop.errors"
        and kind is not SightloopError
        and main.exit_code_of(kind.__new__(kind)) == 1
    ]
    assert not unmapped
