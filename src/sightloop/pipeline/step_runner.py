"""One step: from its declaration to published outputs, the same for every engine.

Whether a step is served from cache is decided before it starts. Invariant: outputs are seen by
nobody before `run` has returned and all of them are on disk; a step that fails or dies leaves
only a temporary folder. In which order steps run is the engine's business.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightloop._support.files import naming_full_disk, write_bytes_atomic
from sightloop.config.workspace import Workspace
from sightloop.errors import GraphInvalidError, SightloopError, StepFailedError
from sightloop.pipeline.cache import (
    Entry,
    StepCache,
    outside_digest,
    publishing,
    read_entry,
    step_key,
)
from sightloop.pipeline.code_digest import code_digest
from sightloop.pipeline.context import Report, StepContext
from sightloop.pipeline.step import Step


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known of a step before it starts.

    Attributes:
        key: Its cache key.
        entry: What the cache holds for it; None: it has to run.
    """

    key: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class StepRunner:
    """Decides and runs the steps of one run."""

    workspace: Workspace
    run_id: str

    @property
    def cache(self) -> StepCache:
        """The workspace's cache."""
        return StepCache(self.workspace.cache)

    def decide(self, step: Step, made: Mapping[str, Entry]) -> Decision:
        """Compute the key of a step and look for it in the cache.

        Args:
            step: The step.
            made: The entries of all steps it reads from, by step name.

        Raises:
            ConfigError: A file it reads does not exist.
            DatasetError: A dataset it reads cannot be read.
        """
        key = step_key(
            step,
            code=code_digest((step.module, *step.code)),
            inputs={one.name: made[one.step].digests[one.output] for one in step.inputs},
            files={name: outside_digest(name, file) for name, file in step.files.items()},
        )
        entry = self.cache.find(step, key) if step.cacheable else None
        return Decision(key, entry)

    def run(self, step: Step, key: str, made: Mapping[str, Entry], report: Report) -> Entry:
        """Run a step and publish its outputs.

        Raises:
            SightloopError: What the step raised; any other exception as StepFailedError.
        """
        kept = self.workspace.unfinished / step.name / key if step.cacheable else None
        if step.cacheable:
            folder = self.cache.folder_of(step, key)
            publication = self.cache.publishing(step, key)
        else:
            folder = self.workspace.runs / self.run_id / "steps" / step.name
            publication = publishing(folder, step, key)
        with publication as outputs:
            context = StepContext(
                inputs={one.name: made[one.step].outputs[one.output] for one in step.inputs},
                outputs=outputs,
                files={name: Path(file.path) for name, file in step.files.items()},
                parameters=step.parameters,
                workspace=self.workspace,
                run_id=self.run_id,
                report=report,
                kept=kept,
            )
            call_step(step.name, step.module, context)
        entry = read_entry(folder, step, key)
        if entry is None:
            raise StepFailedError(
                f"step {step.name}: expected its outputs in {folder} as they were written a "
                "moment ago, found others; check the disk, and run again",
                "outputs_changed",
            )
        if kept is not None:
            shutil.rmtree(kept, ignore_errors=True)
        return entry


def call_step(name: str, module: str, context: StepContext) -> None:
    """Call a step's `run`. What is no error of ours becomes one, with the traceback in a file.

    Raises:
        SightloopError: What the step raised; any other exception as StepFailedError.
    """
    try:
        function = importlib.import_module(module).run
    except (ModuleNotFoundError, AttributeError) as error:
        raise GraphInvalidError(
            f"step {name}: expected a function `run` in {module}, found: {error}; reinstall "
            "sightloop or correct the graph",
            "module_missing",
        ) from error
    try:
        with naming_full_disk(context.workspace.root):
            function(context)
    except SightloopError:
        raise
    except Exception as error:
        place = context.run_folder / f"{name}.traceback.txt"
        # On a full disk the traceback is lost; the error itself goes up all the same.
        with contextlib.suppress(OSError):
            write_bytes_atomic(place, traceback.format_exc().encode())
        raise StepFailedError(
            f"step {name} ended with {type(error).__name__}: {error}; its traceback is in {place}"
        ) from error
