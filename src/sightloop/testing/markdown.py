"""Enough Markdown to hold the docs against the code: headings, table rows, code, links.

It reads what these docs use (`#` headings, pipe tables, backticks, fences); it is no parser of
Markdown at large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^ *```.*?$(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^(#+) +(.+?)\s*$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_RULE = re.compile(r"[-: |]+")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, up to the next heading of any level."""

    level: int
    title: str
    body: str


def sections_of(text: str) -> tuple[Section, ...]:
    """The sections of a page in order. A `#` inside a fence is no heading."""
    hidden = _FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    heads = list(_HEADING.finditer(hidden))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return tuple(
        Section(len(head[1]), head[2], text[head.end() : end])
        for head, end in zip(heads, ends, strict=False)
    )


def rows_of(text: str) -> Iterator[tuple[str, ...]]:
    """Cells of every table row but the head's and the rule below it."""
    lines = _FENCE.sub("", text).splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|") or _RULE.fullmatch(line):
            continue
        if number + 1 < len(lines) and _is_rule(lines[number + 1]):
            continue
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        yield tuple(cell.strip().replace("\\|", "|") for cell in cells)


def _is_rule(line: str) -> bool:
    return line.startswith("|") and "-" in line and _RULE.fullmatch(line) is not None


def code_of(text: str) -> tuple[str, ...]:
    """What stands in backticks, fences apart."""
    return tuple(_CODE.findall(_FENCE.sub("", text)))


def fences_of(text: str) -> tuple[str, ...]:
    """What stands in fenced blocks."""
    return tuple(_FENCE.findall(text))


def links_of(text: str) -> tuple[str, ...]:
    """Targets of links and pictures, fences apart."""
    return tuple(_LINK.findall(_FENCE.sub("", text)))


def anchor_of(title: str) -> str:
    """The anchor that a heading gets on common forges."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
