"""The inside of a trainer's process: lowest priority, dies with its parent, speaks in events.

Standard output carries one JSON event a line: `progress`, `refused`, `error`, `done`. Whatever a
framework prints goes to standard error, which the parent keeps as a log. A process that ends
without `done` has failed, so nothing it half wrote is ever taken for a result. It reaches no
network: each attempt is refused and told (`config/sealed_environment.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from sightloop.config.sealed_environment import refuse_network
from sightloop.errors import SightloopError
from sightloop.pipeline.training.out_of_memory import is_out_of_memory

LOWEST_PRIORITY: Final = 19
_PR_SET_PDEATHSIG: Final = 1

Job = Mapping[str, object]
Emit = Callable[[float, str], None]
Verb = Callable[[Job, Emit], Mapping[str, object]]


def run_child(verbs: Mapping[str, Verb], arguments: Sequence[str]) -> int:
    """Run one verb of a trainer in this process.

    Args:
        verbs: What this trainer can do; each takes the job and gives the answer as plain values.
        arguments: Verb, job file, process id of the parent.

    Returns:
        The process's exit code.
    """
    verb, job_file, parent = arguments
    _live_below(int(parent))
    with _event_stream() as stream:

        def emit(fraction: float, text: str) -> None:
            _write(stream, {"event": "progress", "fraction": fraction, "text": text})

        def tell_refused(what: str) -> None:
            _write(stream, {"event": "refused", "what": what})

        refuse_network(tell_refused)
        try:
            job = json.loads(Path(job_file).read_text())
            answer = verbs[verb](job, emit)
        except SightloopError as error:
            traceback.print_exc()
            _write(stream, {"event": "error", "reason": error.reason, "message": error.message})
            return 1
        except Exception as error:  # the process's border: the parent turns it into a TrainerError
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
            reason = "out_of_memory" if is_out_of_memory(error) else "trainer_failed"
            _write(stream, {"event": "error", "reason": reason, "message": message})
            return 1
        _write(stream, {"event": "done", "answer": dict(answer)})
    return 0


def _live_below(parent: int) -> None:
    """Take the lowest priority and end when the parent ends, however it ends.

    The process stays in its parent's session: with the kernel's autogroups a session of its own
    would get an equal share and make the priority worthless.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the parent, which ends us
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the parent ended before its trainer began")
    os.nice(LOWEST_PRIORITY)


@contextlib.contextmanager
def _event_stream() -> Iterator[TextIO]:
    """Keep standard output for events; send everything else that writes there to the log."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        os.dup2(2, 1)
        yield stream


def _write(stream: TextIO, event: Mapping[str, object]) -> None:
    stream.write(json.dumps(event) + "\n")
    stream.flush()
