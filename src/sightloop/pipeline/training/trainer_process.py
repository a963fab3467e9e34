"""Runs a trainer's verbs in a process of their own, and gives back what it wrote.

The framework's memory, threads, licence and crashes stay in that process. Invariant: it never
outlives the call, not even when this process is killed (see `child.py`), and its private folder
goes with it. A training that runs out of memory is begun again in a fresh process with half the
batch, from its last finished epoch; what a killed one kept is found by the next call.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop._support.files import TEMPORARY_PREFIX, write_json_atomic
from sightloop.config.sealed_environment import trainer_environment
from sightloop.errors import ConfigError, MissingExtraError, TrainerError
from sightloop.pipeline.training import compact_trainer, ultralytics_trainer
from sightloop.pipeline.training.attempts import first_batch, halved
from sightloop.pipeline.training.out_of_memory import kernel_kills
from sightloop.pipeline.training.trainer import NetworkContract, Progress, TrainJob

_LOG_TAIL_LINES: Final = 12
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainerProcess:
    """A `Trainer` whose verbs each run in a fresh child process.

    Attributes:
        module: Module run as `python -m MODULE VERB JOB PARENT`.
        scratch: Existing folder for the child's private folder: copies, settings, log.
        threads: Compute threads of export and inference; 0 takes the machine's count.
    """

    module: str
    scratch: Path
    threads: int = 0

    def train(self, job: TrainJob, progress: Progress) -> None:
        rising = _rising(progress)
        with self._kept_folder(job) as kept:
            batch = first_batch(job.recipe, images=_training_images(job.dataset), kept=kept)
            done = False
            while not done:
                try:
                    self._attempt(job, batch, kept, rising)
                    done = True
                except TrainerError as error:
                    smaller = halved(batch, kept) if error.reason == "out_of_memory" else None
                    if smaller is None:
                        raise
                    rising(0.0, f"out of memory with batch {batch}, goes on with {smaller}")
                    batch = smaller

    def _attempt(self, job: TrainJob, batch: int, kept: Path, progress: Progress) -> None:
        values = {
            "dataset": str(job.dataset.resolve()),
            "output": str(job.output.resolve()),
            "weights": str(job.weights.resolve()) if job.weights else None,
            "recipe": job.recipe.as_dict(),
            "batch": batch,
            "kept": str(kept.resolve()),
        }
        with self._private_folder() as folder:
            self._run("train", values, folder, progress=progress, threads=job.recipe.threads)

    def export(self, checkpoint: Path, output: Path, *, side_px: int) -> NetworkContract:
        values = {
            "checkpoint": str(checkpoint.resolve()),
            "output": str(output.resolve()),
            "side_px": side_px,
        }
        with self._private_folder() as folder:
            answer = self._run("export", values, folder)
        shape = answer["output_shape"]
        classes = answer["classes"]
        assert isinstance(shape, list)
        assert isinstance(classes, list)
        return NetworkContract(
            input_name=str(answer["input_name"]),
            output_name=str(answer["output_name"]),
            output_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            side_px=side_px,
            classes=tuple(str(name) for name in classes),
        )

    def infer(self, checkpoint: Path, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._private_folder() as folder:
            given, taken = folder / "tensors.npy", folder / "raw.npy"
            np.save(given, tensors, allow_pickle=False)
            values = {
                "checkpoint": str(checkpoint.resolve()),
                "tensors": str(given),
                "output": str(taken),
            }
            self._run("infer", values, folder)
            raw: NDArray[np.float32] = np.load(taken, allow_pickle=False)
        return raw

    @contextmanager
    def _kept_folder(self, job: TrainJob) -> Iterator[Path]:
        """Where attempts leave what the next one goes on from."""
        if job.kept is None:
            with self._private_folder() as folder:
                yield folder
        else:
            job.kept.mkdir(parents=True, exist_ok=True)
            yield job.kept

    @contextmanager
    def _private_folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=self.scratch) as name:
            yield Path(name).resolve()

    def _run(
        self,
        verb: str,
        values: Mapping[str, object],
        folder: Path,
        *,
        progress: Progress | None = None,
        threads: int | None = None,
    ) -> Mapping[str, object]:
        job = folder / "job.json"
        write_json_atomic(job, {**values, "private": str(folder)})
        log = folder / "trainer.log"
        command = [sys.executable, "-m", self.module, verb, str(job), str(os.getpid())]
        environment = trainer_environment(
            folder, threads=self.threads if threads is None else threads
        )
        kills = kernel_kills()
        with (
            log.open("wb") as log_stream,
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_stream,
                text=True,
                encoding="utf-8",
            ) as process,
        ):
            try:
                last = _follow(process, progress)
            finally:
                process.kill()  # no effect on one that has ended
                process.wait()
        starved = process.returncode == -signal.SIGKILL and kernel_kills() > kills
        return _answer_of(verb, last, process.returncode, log, starved=starved)


def trainer_process(name: str, scratch: Path, *, threads: int = 0) -> TrainerProcess:
    """The trainer of this name.

    Args:
        name: `ultralytics` or `compact`, as in `train.trainer` and results.json.
        scratch: Existing folder for the child's private folder.
        threads: Compute threads of export and inference; 0 takes the machine's count.

    Raises:
        ConfigError: `trainer_unknown`: no trainer of this name.
        MissingExtraError: What it needs is not installed.
    """
    modules = {one.NAME: one for one in (ultralytics_trainer, compact_trainer)}
    if name not in modules:
        raise ConfigError(
            f"train.trainer: expected one of {', '.join(modules)}, found {name!r}",
            "trainer_unknown",
        )
    modules[name].check_installed()
    return TrainerProcess(modules[name].__name__, scratch.resolve(), threads)


def _follow(process: subprocess.Popen[str], progress: Progress | None) -> Mapping[str, object]:
    """Hand progress on until the child closes its events; give the last other event."""
    last: Mapping[str, object] = {}
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "refused":
            _log.warning("trainer_network_refused", extra={"asked": event["what"]})
        elif event["event"] != "progress":
            last = event
        elif progress is not None:
            progress(float(event["fraction"]), str(event["text"]))
    process.wait()
    return last


def _rising(progress: Progress) -> Progress:
    """Never report less than before: an attempt begins where the one before it ended."""
    most = 0.0

    def report(fraction: float, text: str) -> None:
        nonlocal most
        most = max(most, fraction)
        progress(most, text)

    return report


def _training_images(dataset: Path) -> int:
    folder = dataset / "images" / "train"
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def _answer_of(
    verb: str, last: Mapping[str, object], exit_code: int, log: Path, *, starved: bool
) -> Mapping[str, object]:
    if last.get("event") == "done" and exit_code == 0:
        answer = last["answer"]
        assert isinstance(answer, dict)
        return answer
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
    if last.get("event") == "error":
        if last["reason"] == "missing_extra":
            raise MissingExtraError(str(last["message"]))
        raise TrainerError(
            f"trainer: {verb} failed: {last['message']}; the end of its log:\n{tail}",
            reason=str(last["reason"]),
        )
    if starved:
        raise TrainerError(
            f"trainer: {verb}: expected an answer, found the process killed by the kernel for want "
            f"of memory; the end of its log:\n{tail}",
            reason="out_of_memory",
        )
    cause = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    raise TrainerError(
        f"trainer: {verb}: expected an answer, found the process ended by {cause} (out of memory "
        f"is the usual cause of signal 9); the end of its log:\n{tail}",
        reason="trainer_died",
    )
