"""Records pipeline runs in MLflow.

A run is written open and closed last: one that was killed midway stays `RUNNING`, is never found
again as a record, and is marked killed when the same run is recorded anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sightloop._support.clock import Clock, SystemClock
from sightloop.registry.mlflow_store import MlflowStore, mlflow_errors
from sightloop.registry.tracker import DatasetUse, RunRecord

DIGEST_TAG: Final = "sightloop.digest"
_METRICS_A_BATCH: Final = 1000
_PARAMETERS_A_BATCH: Final = 100
_DATASET_DIGEST_CHARACTERS: Final = 36


@dataclass(frozen=True, slots=True)
class MlflowTracker:
    """A `Tracker` in an embedded MLflow store."""

    store: MlflowStore
    clock: Clock = field(default_factory=SystemClock)

    def record(self, run: RunRecord) -> str:
        if known := self.find(run.line, run.digest):
            return known
        with mlflow_errors():
            self._close_unfinished(run)
            return self._write(run)

    def find(self, line: str, digest: str) -> str | None:
        finished = self._runs_of(line, digest, status="FINISHED")
        return finished[0] if finished else None

    def _runs_of(self, line: str, digest: str, *, status: str) -> list[str]:
        wanted = f"tags.`{DIGEST_TAG}` = '{digest}' and attributes.status = '{status}'"
        with mlflow_errors():
            found = self.store.client.search_runs(
                [self.store.experiment_of(line)], filter_string=wanted
            )
            return [str(run.info.run_id) for run in found]

    def _close_unfinished(self, run: RunRecord) -> None:
        for run_id in self._runs_of(run.line, run.digest, status="RUNNING"):
            self.store.client.set_terminated(run_id, status="KILLED")

    def _write(self, run: RunRecord) -> str:
        client = self.store.client
        tags = {
            **run.tags,
            DIGEST_TAG: run.digest,
            "dataset_version": run.dataset.version,
        }
        opened = client.create_run(self.store.experiment_of(run.line), run_name=run.name, tags=tags)
        run_id = str(opened.info.run_id)
        self._log_values(run_id, run)
        client.log_inputs(run_id, datasets=[_dataset_input(run.dataset)])
        for source, folder in run.artifacts:
            if source.is_dir():
                client.log_artifacts(run_id, str(source), folder or None)
            else:
                client.log_artifact(run_id, str(source), folder or None)
        client.set_terminated(run_id, status="FINISHED")
        return run_id

    def _log_values(self, run_id: str, run: RunRecord) -> None:
        from mlflow.entities import Metric, Param

        now_ms = int(self.clock.wall_s() * 1000)
        parameters = [Param(name, str(value)) for name, value in run.parameters.items()]
        metrics = [Metric(name, value, now_ms, 0) for name, value in run.metrics.items()]
        metrics += [
            Metric(name, value, now_ms, epoch.epoch)
            for epoch in run.epochs
            for name, value in epoch.metrics.items()
        ]
        for some in _chunks(parameters, _PARAMETERS_A_BATCH):
            self.store.client.log_batch(run_id, params=some)
        for some in _chunks(metrics, _METRICS_A_BATCH):
            self.store.client.log_batch(run_id, metrics=some)


def _chunks(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _dataset_input(dataset: DatasetUse) -> Any:
    """MLflow's digest is short: the whole one stands in the tag `dataset_version`."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    described = Dataset(
        name=dataset.name,
        digest=dataset.version[:_DATASET_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": dataset.source}),
    )
    return DatasetInput(
        dataset=described, tags=[InputTag(key="mlflow.data.context", value="training")]
    )
