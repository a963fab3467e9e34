"""Every tracker and registry keeps the promises of the kit; MLflow where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.errors import RegistryError
from sightloop.registry.mlflow_lookup import find_registered
from sightloop.registry.mlflow_registry import BUNDLE_ARTIFACT, MlflowRegistry
from sightloop.registry.mlflow_store import MlflowStore, open_mlflow
from sightloop.registry.mlflow_tracker import MlflowTracker
from sightloop.registry.registry import RegisteredVersion
from sightloop.testing.memory_registry import MemoryRegistry, MemoryTracker
from sightloop.testing.registry_kit import Opened, RegistryKit, Releases, record_of

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)
# SQLAlchemy warns of what MLflow does with it.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


class TestMemory(RegistryKit):
    @pytest.fixture
    def opened(self) -> Opened:
        registry = MemoryRegistry()
        return Opened(MemoryTracker(), registry, registry.folder_of)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database costs seconds: made once, copied for every test."""
    workspace = open_workspace(tmp_path_factory.mktemp("mlflow"))
    open_mlflow(workspace)
    return workspace.mlflow_database


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> MlflowStore:
    workspace = open_workspace(tmp_path / "workspace")
    with sqlite3.connect(empty_database) as source:
        copy = sqlite3.connect(workspace.mlflow_database)
        source.backup(copy)
        copy.close()
    source.close()
    return open_mlflow(workspace)


def _artifacts_of(store: MlflowStore, version: RegisteredVersion) -> Path:
    run = store.client.get_run(version.run_id)
    return Path(unquote(urlparse(run.info.artifact_uri).path)) / BUNDLE_ARTIFACT


@needs_mlflow
class TestMlflow(RegistryKit):
    @pytest.fixture
    def opened(self, store: MlflowStore) -> Opened:
        return Opened(
            MlflowTracker(store),
            MlflowRegistry(store),
            lambda version: _artifacts_of(store, version),
        )

    def test_stock_mlflow_shows_the_whole_run(self, store: MlflowStore, tmp_path: Path) -> None:
        evaluation = tmp_path / "evaluation"
        (evaluation / "worst_frames").mkdir(parents=True)
        for name in ("pr_curve.png", "report.html", "worst_frames/01.jpg"):
            (evaluation / name).write_bytes(b"picture")
        record = replace(record_of("a" * 64), artifacts=[(evaluation, "evaluation")])
        run_id = MlflowTracker(store).record(record)
        run = store.client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params == {"epochs": "2", "mosaic": "0.5", "weights": "None"}
        assert run.data.tags["semver"] == "1.0.0"
        assert run.data.tags["dataset_version"] == "d" * 64
        history = store.client.get_metric_history(run_id, "train/loss")
        assert [(one.step, one.value) for one in history] == [(1, 2.0), (2, 1.0)]
        used = run.inputs.dataset_inputs[0].dataset
        assert used.digest == "d" * 36
        assert json.loads(used.source) == {"uri": "/data/plates"}
        assert [one.path for one in store.client.list_artifacts(run_id, "evaluation")] == [
            "evaluation/pr_curve.png",
            "evaluation/report.html",
            "evaluation/worst_frames",
        ]
        worst = store.client.list_artifacts(run_id, "evaluation/worst_frames")
        assert [one.path for one in worst] == ["evaluation/worst_frames/01.jpg"]

    def test_version_carries_semver_digest_and_dataset(
        self, store: MlflowStore, releases: Releases
    ) -> None:
        bundle = releases.make("1.0.0")
        run_id = MlflowTracker(store).record(record_of(bundle.digest))
        made = MlflowRegistry(store).register(bundle, run_id=run_id)
        tags = store.client.get_model_version("plate", made.number).tags
        assert tags["semver"] == "1.0.0"
        assert tags["digest"] == bundle.digest
        assert tags["dataset_version"] == "unknown"

    def test_interrupted_record_is_not_taken_for_a_whole_one(self, store: MlflowStore) -> None:
        tracker = MlflowTracker(store)
        half = store.client.create_run(
            store.experiment_of("plate"), tags={"sightloop.digest": "a" * 64}
        )
        assert tracker.find("plate", "a" * 64) is None
        whole = tracker.record(record_of("a" * 64))
        assert whole != half.info.run_id
        assert store.client.get_run(half.info.run_id).info.status == "KILLED"
        assert tracker.find("plate", "a" * 64) == whole

    def test_registered_release_is_known_without_mlflow_and_a_deleted_one_is_not(
        self, store: MlflowStore, releases: Releases
    ) -> None:
        bundle, other = releases.make("1.0.0"), releases.make("1.1.0")
        assert find_registered(store.database, bundle) is None
        run_id = MlflowTracker(store).record(record_of(bundle.digest))
        assert find_registered(store.database, bundle) is None
        made = MlflowRegistry(store).register(bundle, run_id=run_id)
        assert find_registered(store.database, bundle) == made
        assert find_registered(store.database, other) is None
        store.client.delete_run(run_id)
        assert find_registered(store.database, bundle) is None
        store.client.restore_run(run_id)
        assert find_registered(store.database, bundle) == made
        store.client.delete_model_version("plate", made.number)
        assert find_registered(store.database, bundle) is None

    def test_database_that_is_absent_or_none_knows_nothing(
        self, releases: Releases, tmp_path: Path
    ) -> None:
        file = tmp_path / "mlflow.db"
        assert find_registered(file, releases.make("1.0.0")) is None
        file.write_bytes(b"no database" * 100)
        assert find_registered(file, releases.make("1.0.0")) is None

    def test_deleted_experiment_is_said_with_the_way_back(self, store: MlflowStore) -> None:
        store.client.delete_experiment(store.experiment_of("plate"))
        with pytest.raises(RegistryError) as caught:
            MlflowTracker(store).record(record_of("a" * 64))
        assert caught.value.reason == "experiment_deleted"
        assert "mlflow experiments restore" in caught.value.message

    def test_mlflow_sends_nothing_home(self, store: MlflowStore) -> None:
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
        assert os.environ["DO_NOT_TRACK"] == "true"

    def test_errors_of_mlflow_leave_as_registry_errors(
        self, store: MlflowStore, releases: Releases
    ) -> None:
        with pytest.raises(RegistryError):
            MlflowRegistry(store).register(releases.make("1.0.0"), run_id="no-such-run")
