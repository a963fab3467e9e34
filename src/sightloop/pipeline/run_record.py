"""run.json: what a run did, written whole after every event.

For people and for lineage; no step reads it. A run that was killed says `running` until the
next run of its line marks it `interrupted`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from sightloop._support.clock import Clock, utc_text
from sightloop._support.files import write_json_atomic
from sightloop.config.workspace import Workspace
from sightloop.errors import SightloopError
from sightloop.pipeline.display import How

RUN_JSON: Final = "run.json"
State = Literal["running", "done", "failed", "interrupted"]


class RunRecord:
    """The record of one run."""

    def __init__(
        self,
        folder: Path,
        *,
        line: str,
        config: Mapping[str, object],
        steps: Sequence[str],
        clock: Clock,
    ) -> None:
        self._path = folder / RUN_JSON
        self._clock = clock
        self._steps: dict[str, dict[str, object]] = {name: {"state": "waiting"} for name in steps}
        self._value: dict[str, object] = {
            "run_id": folder.name,
            "line": line,
            "config": dict(config),
            "started": utc_text(clock.wall_s()),
            "ended": None,
            "error": None,
        }
        self._write("running")

    def started(self, step: str) -> None:
        """A step is about to be decided."""
        self._steps[step] = {"state": "running"}
        self._write("running")

    def decided(self, step: str, key: str) -> None:
        """The key of a step is known."""
        self._steps[step]["key"] = key
        self._write("running")

    def ended(self, step: str, how: How, seconds: float) -> None:
        """A step's outputs are published."""
        self._steps[step] |= {"state": how, "seconds": round(seconds, 3)}
        self._write("running")

    def stopped(self, step: str, error: BaseException, seconds: float) -> How:
        """A step failed or was interrupted, and with it the run. Returns which."""
        how: How = "failed" if isinstance(error, Exception) else "interrupted"
        self._steps[step] |= {"state": how, "seconds": round(seconds, 3)}
        # On a full disk the record stays as it was; the error itself goes up all the same.
        with contextlib.suppress(OSError):
            self._close(how, error)
        return how

    def done(self, result: Mapping[str, object]) -> None:
        """The run has ended well."""
        self._value["result"] = dict(result)
        self._close("done", None)

    def _close(self, state: State | How, error: BaseException | None) -> None:
        self._value["ended"] = utc_text(self._clock.wall_s())
        if error is not None:
            reason = error.reason if isinstance(error, SightloopError) else type(error).__name__
            self._value["error"] = {"reason": reason, "message": str(error)}
        self._write(state)

    def _write(self, state: str) -> None:
        steps = [{"name": name, **values} for name, values in self._steps.items()]
        write_json_atomic(self._path, {**self._value, "state": state, "steps": steps})


def mark_interrupted(workspace: Workspace, line: str) -> None:
    """Say of the line's runs that were killed that they were. Needs the line's lock."""
    for path in workspace.runs.glob(f"*/{RUN_JSON}"):
        value: Any = json.loads(path.read_bytes())
        if value.get("line") == line and value.get("state") == "running":
            write_json_atomic(path, {**value, "state": "interrupted"})
