"""Who names a release: slots, holds, and every alias of the registry, also those of other tools."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sightloop._support.database import open_sqlite
from sightloop.app.release_roles import held, merged, registry_aliases, slot_roles
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.distribution.holds import Holds
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import MissingExtraError
from sightloop.registry.mlflow_registry import MlflowRegistry
from sightloop.registry.mlflow_store import open_mlflow
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.serving.history import Action, HistoryStore, ReleaseId, SlotEvent
from sightloop.testing.tiny_detectors import build_tiny_release

ONE, TWO, THREE = (ReleaseId(f"1.{minor}.0", str(minor) * 64) for minor in (0, 1, 2))


def _write(workspace: Workspace, line: str, *events: tuple[Action, ReleaseId]) -> None:
    history = HistoryStore(open_sqlite(workspace.serving_database))
    for action, release in events:
        history.append(line, SlotEvent("2026-01-01T00:00:00.000Z", action, release))
    history.close()


def test_slots_name_champion_and_previous_of_every_line(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    assert slot_roles(workspace) == {}
    _write(workspace, "a", (Action.START, ONE), (Action.UPDATE, TWO), (Action.REFUSED, THREE))
    _write(workspace, "b", (Action.START, TWO))
    assert slot_roles(workspace) == {ONE.digest: ("previous",), TWO.digest: ("champion",) * 2}


def test_holds_carry_their_note(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    holds = Holds(ReleaseStore(workspace.releases))
    holds.add(ONE.digest, "line 4")
    holds.add(TWO.digest, "")
    assert held(workspace) == {ONE.digest: ("held: line 4",), TWO.digest: ("held",)}


def test_all_that_names_a_release_is_kept() -> None:
    assert merged({"x": ("a",)}, {"x": ("b",), "y": ("c",)}, {}) == {"x": ("a", "b"), "y": ("c",)}


def test_workspace_without_registry_asks_nobody(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    assert registry_aliases(workspace, ["plate"]) == {}
    assert not workspace.mlflow_database.exists()


def test_registry_that_cannot_be_asked_is_an_error_not_an_empty_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path)
    workspace.mlflow_database.touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError):
        registry_aliases(workspace, ["plate"])


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)
# SQLAlchemy warns of what MLflow does with it.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_alias_that_a_person_set_counts_too(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "w")
    build_tiny_release(
        tmp_path / "bundle", semver="1.0.0", key=create_key(tmp_path / "keys"), frames=1
    )
    bundle = read_bundle(tmp_path / "bundle")
    store = open_mlflow(workspace)
    run = store.client.create_run(store.experiment_of("plate"))
    registry = MlflowRegistry(store)
    version = registry.register(bundle, run_id=run.info.run_id)
    registry.promote("plate", bundle.digest)
    store.client.set_registered_model_alias("plate", "golden", version.number)
    assert registry_aliases(workspace, ["plate", "unknown"]) == {
        bundle.digest: ("alias champion", "alias golden")
    }
