"""Retention: what a slot, a hold or an alias names never goes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop._support.database import open_sqlite
from sightloop.app.retention import Pruned, prune
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.distribution.holds import Holds
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ConfigError
from sightloop.gates.kept_answers import ReleaseAnswers, keep_answers
from sightloop.release.signing import create_key, load_trust
from sightloop.runtime.engines import EngineKey, build_once
from sightloop.serving.history import Action, HistoryStore, ReleaseId, SlotEvent
from sightloop.testing.tiny_detectors import build_tiny_release

VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")


class LaterClock(SystemClock):
    """An hour on: what a test has just built is old."""

    def wall_s(self) -> float:
        return super().wall_s() + 3600


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = open_workspace(tmp_path / "w")
    key = create_key(place.keys)
    for number, semver in enumerate(VERSIONS):
        folder = tmp_path / semver
        build_tiny_release(folder, semver=semver, key=key, frames=1, variant=number)
        ReleaseStore(place.releases).add(folder, load_trust(place.keys))
    return place


def _digests(workspace: Workspace) -> dict[str, str]:
    return {entry.semver: entry.digest for entry in ReleaseStore(workspace.releases).entries()}


def _serve(workspace: Workspace, *semvers: str) -> None:
    digests = _digests(workspace)
    history = HistoryStore(open_sqlite(workspace.serving_database))
    for semver in semvers:
        release = ReleaseId(semver, digests[semver])
        history.append("plate", SlotEvent("2026-01-01T00:00:00.000Z", Action.UPDATE, release))
    history.close()


def _prune(
    workspace: Workspace, *, keep_last: int = 1, grace_s: float = 600.0, dry_run: bool = False
) -> Pruned:
    return prune(
        workspace, keep_last=keep_last, grace_s=grace_s, dry_run=dry_run, clock=LaterClock()
    )


def test_champion_previous_held_and_last_stay_the_rest_goes(workspace: Workspace) -> None:
    _serve(workspace, "1.3.0", "1.0.0", "1.1.0")
    Holds(ReleaseStore(workspace.releases)).add(_digests(workspace)["1.2.0"], "why")
    done = _prune(workspace)
    assert {kept.entry.semver: kept.because for kept in done.plan.kept} == {
        "1.0.0": ("previous",),
        "1.1.0": ("champion",),
        "1.2.0": ("held: why",),
        "1.4.0": ("among the last 1",),
    }
    assert [entry.semver for entry in done.removed] == ["1.3.0"]
    assert sorted(_digests(workspace)) == ["1.0.0", "1.1.0", "1.2.0", "1.4.0"]
    assert not list(workspace.releases.glob(".tmp-*"))
    assert done.freed_bytes > 0


def test_dry_run_says_the_same_and_removes_nothing(workspace: Workspace) -> None:
    dry = _prune(workspace, dry_run=True)
    assert dry.removed == ()
    assert sorted(_digests(workspace)) == list(VERSIONS)
    assert _prune(workspace).removed == dry.plan.unreachable


def _leave(workspace: Workspace, semver: str, digest: str = "") -> tuple[Path, Path]:
    """An engine and kept answers of a release."""
    digest = digest or _digests(workspace)[semver]
    key = EngineKey("tensorrt", "NVIDIA L4 8.9", "550.54", "onnxruntime 1.32.0", "fp32", digest)
    engine = build_once(
        workspace.engines, key, lambda folder: _write(folder / "part.engine", b"e" * 1000)
    )
    answers = ReleaseAnswers(digest, {"release": digest}, {})
    keep_answers(workspace.answers, answers)
    return engine, workspace.answers / f"{digest}.json"


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_engines_and_answers_go_with_their_release_and_those_in_use_stay(
    workspace: Workspace,
) -> None:
    _serve(workspace, "1.3.0", "1.0.0", "1.1.0")
    Holds(ReleaseStore(workspace.releases)).add(_digests(workspace)["1.2.0"], "why")
    left = {semver: _leave(workspace, semver) for semver in VERSIONS}
    own = workspace.engines / "tensorrt-nvidia-l4-8-9" / "notes"
    own.mkdir()
    lost = _leave(workspace, "0.9.0", digest="9" * 64)
    dry = _prune(workspace, dry_run=True)
    gone = {*lost, *left["1.3.0"]}
    assert {workspace.root / one.path for one in dry.leftovers} == gone
    assert all(path.exists() for path in gone)
    done = _prune(workspace)
    assert (done.leftovers, done.freed_bytes) == (dry.leftovers, dry.freed_bytes)
    assert done.freed_bytes > sum(one.bytes for one in done.leftovers) > 2000
    assert not any(path.exists() for path in gone)
    kept = [path for semver in VERSIONS if semver != "1.3.0" for path in left[semver]]
    assert all(path.exists() for path in (*kept, own))
    assert len(list(workspace.engines.glob("*/*.lock"))) == len(VERSIONS) - 1


def test_engine_and_answers_of_a_champion_stay_although_the_store_lost_it(
    workspace: Workspace,
) -> None:
    _serve(workspace, "1.0.0")
    left = _leave(workspace, "1.0.0")
    ReleaseStore(workspace.releases).remove(_digests(workspace)["1.0.0"])
    assert _prune(workspace).leftovers == ()
    assert all(path.exists() for path in left)


def test_engine_that_is_being_built_stays(workspace: Workspace) -> None:
    engine, answers = _leave(workspace, "0.9.0", digest="9" * 64)
    with open(engine.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = _prune(workspace)
    assert [one.kind for one in done.leftovers] == ["answers"]
    assert engine.exists()
    assert not answers.exists()


def test_release_offered_lately_stays(workspace: Workspace, tmp_path: Path) -> None:
    assert not _prune(workspace, grace_s=2 * 3600).removed


def test_offering_a_known_release_again_counts_as_lately(
    workspace: Workspace, tmp_path: Path
) -> None:
    store, trust = ReleaseStore(workspace.releases), load_trust(workspace.keys)
    folder = store.path_of(_digests(workspace)["1.0.0"])
    for source in (tmp_path / "1.0.0", folder):
        os.utime(folder, (1, 1))
        store.add(source, trust)
        assert folder.stat().st_mtime > 1


def test_release_that_begins_to_serve_meanwhile_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot switches after the plan is made and before the removal."""
    planned = ReleaseStore.remove

    def remove(store: ReleaseStore, digest: str) -> None:
        if not workspace.serving_database.is_file():
            _serve(workspace, "1.2.0")
        planned(store, digest)

    monkeypatch.setattr(ReleaseStore, "remove", remove)
    done = _prune(workspace)
    assert [entry.semver for entry in done.removed] == ["1.0.0", "1.1.0", "1.3.0"]
    assert "1.2.0" in _digests(workspace)


def test_without_slots_nothing_is_created(workspace: Workspace) -> None:
    _prune(workspace)
    assert not workspace.serving_database.exists()
    assert not workspace.mlflow_database.exists()


def test_empty_workspace_has_nothing_to_remove(tmp_path: Path) -> None:
    assert _prune(Workspace(tmp_path / "none")) == _prune(Workspace(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("keep_last", "grace_s"), [(-1, 0.0), (0, -1.0)])
def test_numbers_below_zero_are_refused(
    workspace: Workspace, keep_last: int, grace_s: float
) -> None:
    with pytest.raises(ConfigError):
        _prune(workspace, keep_last=keep_last, grace_s=grace_s)
