"""Enough of a Dockerfile's grammar to hold the images against the code and to run their steps.

It reads what ours use: stages, continued lines, comments, `ARG` defaults before the first `FROM`,
flags, JSON lists. It builds nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `COPY --from=build a b` has flags {"from": "build"} and value `a b`."""

    word: str
    flags: Mapping[str, str]
    value: str

    def as_list(self) -> list[str]:
        """The value as a JSON list of strings, which is how commands must be written here.

        Raises:
            ValueError: It is written as a shell line.
        """
        return [str(part) for part in json.loads(self.value)]


@dataclass(frozen=True, slots=True)
class Stage:
    """What one `FROM` begins.

    Attributes:
        base: Image or earlier stage, defaults of `ARG` filled in.
    """

    name: str
    base: str
    instructions: tuple[Instruction, ...]


def parse_dockerfile(text: str) -> tuple[Stage, ...]:
    """The stages in order; a stage without a name is called by its number."""
    defaults: dict[str, str] = {}
    begun: list[tuple[str, str, list[Instruction]]] = []
    for instruction in _instructions(text):
        if instruction.word == "FROM":
            base, _, name = instruction.value.partition(" AS ")
            begun.append((name.strip() or str(len(begun)), _filled(base.strip(), defaults), []))
        elif begun:
            begun[-1][2].append(instruction)
        elif instruction.word == "ARG":
            key, _, value = instruction.value.partition("=")
            defaults[key] = value
    return tuple(Stage(name, base, tuple(made)) for name, base, made in begun)


def lineage_of(stages: tuple[Stage, ...], name: str) -> tuple[Stage, ...]:
    """A stage and the stages that it stands on, the lowest first."""
    by_name = {stage.name: stage for stage in stages}
    found: list[Stage] = []
    while name in by_name:
        found.insert(0, by_name[name])
        name = by_name[name].base
    return tuple(found)


def last_value(lineage: tuple[Stage, ...], word: str) -> Instruction | None:
    """The instruction of this kind that is in force at the end of a lineage."""
    found = [one for stage in lineage for one in stage.instructions if one.word == word]
    return found[-1] if found else None


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [_instruction(line.strip()) for line in whole.splitlines() if line.strip()]


def _instruction(line: str) -> Instruction:
    word, _, rest = line.partition(" ")
    flags: dict[str, str] = {}
    rest = rest.strip()
    while (found := _FLAG.match(rest)) is not None:
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    return Instruction(word.upper(), flags, rest)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)
