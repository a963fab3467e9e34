"""Pages point at what exists: files, anchors, commands, options, settings files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sightloop.cli import main
from sightloop.pipeline.config import load_config
from sightloop.testing.markdown import anchor_of, code_of, fences_of, links_of, sections_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "CHANGELOG.md"])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=NAMES)
_WORD = re.compile(r"[a-z][a-z|]*")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "docs/concepts.md"])
def test_first_pages_exist(name: str) -> None:
    assert (ROOT / name).is_file()


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links_of(page.read_text()):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or not path.is_relative_to(ROOT) or not has_anchor(path, anchor):
            broken.append(link)
    assert not broken


def has_anchor(path: Path, anchor: str) -> bool:
    if not anchor:
        return True
    return anchor in {anchor_of(section.title) for section in sections_of(path.read_text())}


def calls_in(text: str) -> Iterator[list[str]]:
    """Words behind `sightloop` in inline code and, at the start of a command, in fences."""
    for code in code_of(text):
        if code.startswith("sightloop "):
            yield code.split()[1:]
    for fence in fences_of(text):
        for line in fence.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ").partition("#")[0].split()
            while words and "=" in words[0]:
                del words[0]  # a variable set for this command
            if words and words[0].rpartition("/")[2] == "sightloop":
                yield words[1:]


def faults_of(words: list[str]) -> Iterator[str]:
    """What is wrong with `sightloop WORDS`: no such command, no such option."""
    found: list[Any] = [typer.main.get_command(main.app)]
    rest = list(words)
    while rest and all(hasattr(one, "commands") for one in found):
        word = rest.pop(0)
        if not _WORD.fullmatch(word):
            rest.insert(0, word)
            break
        names = word.split("|")
        for name in names:
            if not any(name in one.commands for one in found):
                yield f"no command {name!r} in `sightloop {' '.join(words)}`"
        found = [one.commands[name] for one in found for name in names if name in one.commands]
    options = {option for one in found for p in one.params for option in p.opts} | {"--help"}
    for word in rest:
        option = re.match(r"--[a-z0-9-]+", word.lstrip("["))
        if option and option[0] not in options:
            yield f"no option {option[0]!r} in `sightloop {' '.join(words)}`"


@EVERY_PAGE
def test_commands_and_options_that_are_shown_exist(page: Path) -> None:
    faults = [fault for words in calls_in(page.read_text()) for fault in faults_of(words)]
    assert not faults


def test_check_of_commands_finds_what_is_not_there() -> None:
    page = "`sightloop fly`\n```\n$ sightloop serve --wings 2\nsightloop release build|mend\n```\n"
    faults = [fault for words in calls_in(page) for fault in faults_of(words)]
    assert [fault.split("'")[1] for fault in faults] == ["fly", "--wings", "mend"]


@EVERY_PAGE
def test_make_targets_that_are_shown_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = page.read_text()
    lines = [line for fence in fences_of(text) for line in fence.splitlines()]
    shown = [re.match(r"(?:\$ *)?make ([a-z]+)", part.strip()) for part in (*code_of(text), *lines)]
    assert {found[1] for found in shown if found} <= targets


@pytest.mark.parametrize(
    "file", sorted((ROOT / "examples").rglob("*.toml")), ids=lambda path: path.name
)
def test_settings_of_the_examples_are_valid(file: Path) -> None:
    assert load_config(file).line


@EVERY_PAGE
def test_pages_are_finished(page: Path) -> None:
    assert not re.findall(r"@@|\bTODO\b|\bTBD\b|\bFIXME\b", page.read_text())
