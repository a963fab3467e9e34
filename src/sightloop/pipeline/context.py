"""What a step is handed: where to read, where to write, its parameters, how to report.

A step reads `inputs` and `files`, writes `outputs` and nothing else. The runner publishes the
outputs after `run` has returned, so a step may write them in any order and die at any time.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sightloop._support.files import TEMPORARY_PREFIX
from sightloop.config.workspace import Workspace
from sightloop.errors import ConfigError
from sightloop.pipeline.step import Parameter

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class StepContext:
    """Everything one call of a step's `run` may use.

    Attributes:
        inputs: Outputs of earlier steps, to be read only.
        outputs: Where to write. Folders exist and are empty, files do not exist.
        files: What lies outside the workspace, to be read only.
        parameters: The declared parameters.
        workspace: Keys, release store and registry; the side effects of a step go here.
        run_id: The run this call belongs to.
        report: Takes progress: a fraction in 0..1 and a short text.
        kept: Folder, perhaps absent, that outlives a killed step: a later call of the same cache
            key finds in it what this one wrote. None: nothing is kept.
    """

    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    files: Mapping[str, Path]
    parameters: Mapping[str, Parameter]
    workspace: Workspace
    run_id: str
    report: Report
    kept: Path | None = None

    @property
    def run_folder(self) -> Path:
        """Folder of the run: reports for people go here, never what a later step reads."""
        return self.workspace.runs / self.run_id

    def text(self, name: str) -> str:
        """A parameter that is text."""
        value = self._value(name)
        if not isinstance(value, str):
            raise _wrong_type(name, "text", value)
        return value

    def integer(self, name: str) -> int:
        """A parameter that is a whole number."""
        value = self._value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(name, "a whole number", value)
        return value

    def number(self, name: str) -> float:
        """A parameter that is a number."""
        value = self._value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong_type(name, "a number", value)
        return float(value)

    def flag(self, name: str) -> bool:
        """A parameter that is true or false."""
        value = self._value(name)
        if not isinstance(value, bool):
            raise _wrong_type(name, "true or false", value)
        return value

    def optional_number(self, name: str) -> float | None:
        """A parameter that is a number, or None."""
        return None if self._value(name) is None else self.number(name)

    def optional_integer(self, name: str) -> int | None:
        """A parameter that is a whole number, or None."""
        return None if self._value(name) is None else self.integer(name)

    def optional_text(self, name: str) -> str | None:
        """A parameter that is text, or None."""
        return None if self._value(name) is None else self.text(name)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder in the workspace that is gone when the block ends.

        What a killed process leaves of it is removed by the next run.
        """
        self.run_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=self.run_folder) as name:
            yield Path(name)

    def _value(self, name: str) -> Parameter:
        if name not in self.parameters:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise ConfigError(
                f"parameter {name!r} is missing; given are: {known}; "
                f"with `sightloop pipeline step` pass --set {name}=VALUE",
                "parameter_missing",
            )
        return self.parameters[name]


def _wrong_type(name: str, expected: str, found: Parameter) -> ConfigError:
    return ConfigError(
        f"parameter {name!r}: expected {expected}, found {found!r}; "
        f"with `sightloop pipeline step` pass --set {name}=VALUE",
        "parameter_invalid",
    )
