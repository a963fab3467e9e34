"""Interrupts a piece of work at every write it does, and looks at what a repetition makes of it.

Each try starts from the same prepared folder, in a process forked for it: the work is stopped at
its n-th write, then another process looks at what a reader would see, does the work again, and
says what it has come to. That must be what it comes to undisturbed. Which writes there are is
found by counting them once.

Run as `python -m sightloop.testing.interruptions SCENARIO FOLDER` it prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sightloop._support.files import naming_full_disk
from sightloop.errors import SightloopError
from sightloop.testing.write_faults import Fault, WriteFaults

FAULTS: Final = (Fault.KILL, Fault.INTERRUPT, Fault.DISK_FULL)
LIMIT_S: Final = 120
EXIT_ERROR: Final = 3
EXIT_INTERRUPTED: Final = 130
_EXPECTED_ENDS: Final = {
    Fault.KILL: (-signal.SIGKILL, 0),
    Fault.INTERRUPT: (EXIT_INTERRUPTED, 0),
    Fault.DISK_FULL: (EXIT_ERROR, 0),
}
Json = Any


class Scenario(Protocol):
    """A piece of work on one folder that may be stopped anywhere and is then done again."""

    def warm(self, folder: Path) -> None:
        """Import what the work needs, for each forked process to have it; `folder` may be used."""

    def prepare(self, root: Path) -> None:
        """Make the folder as it is before the work."""

    def work(self, root: Path) -> None:
        """Do the work; done a second time it goes on, or finds that nothing is to be done."""

    def seen(self, root: Path) -> Json:
        """What a reader finds after an interruption; raises if that is anything half-written."""

    def state(self, root: Path, seen: Json) -> Json:
        """What the finished work has come to; raises if the repetition did more than it had to."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One try that broke a promise."""

    fault: str
    at: int
    point: str
    what: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """What came of it.

    Attributes:
        points: Writes of the undisturbed work.
        tried: Tries by fault.
        stopped: How many of them really ended the work.
        failures: Broken promises.
    """

    points: int
    tried: dict[str, int]
    stopped: int
    failures: tuple[Failure, ...]


def sweep(
    scenario: Scenario, folder: Path, *, tries: int | None, seed: int, faults: Sequence[Fault]
) -> Sweep:
    """Stop `scenario` at its writes.

    Args:
        scenario: What is stopped.
        folder: Absent or empty; everything is made below it.
        tries: Points a fault, drawn with `seed`; None: every one.
        seed: Of the draw.
        faults: How it is stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenario.warm(folder / "warm")
    place = _Place(scenario, folder)
    points, expected = place.undisturbed()
    chosen = random.Random(seed)
    tried, failures, stopped = {}, [], 0
    for fault in faults:
        numbers = list(range(1, len(points) + 1))
        if tries is not None and tries < len(numbers):
            numbers = sorted(chosen.sample(numbers, tries))
        tried[fault.value] = len(numbers)
        for number in numbers:
            end, what = place.interrupted(fault, number, expected)
            stopped += end != 0
            if what:
                failures.append(Failure(fault.value, number, points[number - 1], what))
    return Sweep(len(points), tried, stopped, tuple(failures))


class _Place:
    """The folder of a sweep: `base` as prepared, `root` where each try works."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._base = folder / "base"
        self._root = folder / "root"
        self._answer = folder / "answer.json"
        self._said = folder / "said.txt"

    def undisturbed(self) -> tuple[list[str], Json]:
        """The points of the work, and what it comes to."""
        self._root.mkdir()
        self._must(lambda: self._scenario.prepare(self._root))
        shutil.copytree(self._root, self._base, symlinks=True)
        points = self._must(lambda: self._counted(Fault.NONE, 0))
        return points, self._must(lambda: self._scenario.state(self._root, None))

    def interrupted(self, fault: Fault, at: int, expected: Json) -> tuple[int, str]:
        """One try. Returns how the work ended, and what promise was broken, if any."""
        shutil.rmtree(self._root)
        shutil.copytree(self._base, self._root, symlinks=True)
        end, _ = self._forked(lambda: self._counted(fault, at))
        if end not in _EXPECTED_ENDS[fault]:
            return end, f"ended with {end}: {self._said.read_text()[-600:]}"
        code, found = self._forked(self._again)
        if code != 0:
            return end, f"afterwards: {self._said.read_text()[-600:]}"
        return end, "" if found == expected else f"expected {expected}, found {found}"

    def _counted(self, fault: Fault, at: int) -> list[str]:
        faults = WriteFaults(self._root, fault, at)
        faults.install()
        self._scenario.work(self._root)
        return list(faults.points)

    def _again(self) -> Json:
        seen = self._scenario.seen(self._root)
        self._scenario.work(self._root)
        return self._scenario.state(self._root, seen)

    def _must(self, function: Callable[[], Json]) -> Json:
        code, value = self._forked(function)
        if code != 0:
            raise AssertionError(f"undisturbed, it ended with {code}: {self._said.read_text()}")
        return value

    def _forked(self, function: Callable[[], Json]) -> tuple[int, Json]:
        """Run `function` in a process of its own; gives its exit code and its value."""
        self._answer.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            self._child(function)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code, json.loads(self._answer.read_bytes()) if code == 0 else None

    def _child(self, function: Callable[[], Json]) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_S)
        said = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        code = _end_of(function, self._answer)
        os._exit(code)


def _end_of(function: Callable[[], Json], answer: Path) -> int:
    """The exit code that the command line would give, roughly."""
    try:
        with naming_full_disk(answer.parent):
            text = json.dumps(function())
    except SightloopError as error:
        return _said(f"{error.message} [{error.reason}]", EXIT_ERROR)
    except KeyboardInterrupt:
        return _said("interrupted", EXIT_INTERRUPTED)
    except BaseException:
        return _said(traceback.format_exc(), 1)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    handle = os.open(answer, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(handle, text.encode())
    return 0


def _said(text: str, code: int) -> int:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    os.write(2, text.encode())
    return code


def main(arguments: Sequence[str]) -> int:
    """Sweep one scenario and print what came of it."""
    from sightloop.testing.interrupted_work import SCENARIOS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tries", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", type=Fault, action="append")
    given = parser.parse_args(arguments)
    done = sweep(
        SCENARIOS[given.scenario],
        given.folder,
        tries=given.tries,
        seed=given.seed,
        faults=tuple(given.fault or FAULTS),
    )
    sys.stdout.write(json.dumps(asdict(done), indent=1) + "\n")
    return 1 if done.failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
