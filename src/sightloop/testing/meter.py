"""A process that works for a stated time when told to, and says how often it was done.

It keeps what it has loaded between its turns, so that two of them can be measured in turns. On
standard input it reads seconds, a line a turn; it answers each with one JSON object. Without work
it sleeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self


def serve_turns(work: Callable[[float], dict[str, Any]]) -> None:
    """The process's side: `work` for as long as each line of standard input says."""
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(work(float(line))) + "\n")
        sys.stdout.flush()


class Meter:
    """The other side: a started process of `serve_turns`. Use as a context."""

    def __init__(self, command: Sequence[str], *, cores: Iterable[int] | None = None) -> None:
        """Start it and wait until it is ready.

        Args:
            command: Module and arguments for this interpreter's `-m`.
            cores: Where it may run; everywhere when None.

        Raises:
            RuntimeError: It ended instead.
        """
        with pinned_to(cores):
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self._read()

    def begin(self, seconds: float) -> None:
        """Let it work for so long; `result` waits."""
        assert self._process.stdin is not None, "opened as a pipe"
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it says of the turn that was begun."""
        return self._read()

    def turn(self, seconds: float) -> dict[str, Any]:
        """Let it work for so long and give what it says."""
        self.begin(seconds)
        return self.result()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None, "opened as a pipe"
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"meter: it ended with exit code {self._process.wait()}")
        return dict(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None, "opened as a pipe"
        assert self._process.stdout is not None, "opened as a pipe"
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def pinned_to(cores: Iterable[int] | None) -> Iterator[None]:
    """What is started inside the block may run on these cores alone; None: no change."""
    before = os.sched_getaffinity(0)
    if cores is not None:
        os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
