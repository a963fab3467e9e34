from pathlib import Path
from typing import Any

from sightloop.app.registry_roles import follow_roles, record_roles
from sightloop.config.workspace import open_workspace
from sightloop.registry.registry import Role
from sightloop.release.bundle import Bundle, read_bundle
from sightloop.release.signing import create_key
from sightloop.testing.memory_registry import MemoryRegistry
from sightloop.testing.tiny_detectors import build_tiny_release


def worker(bundle: Bundle) -> dict[str, Any]:
    return {"release": {"semver": bundle.manifest.semver, "digest": bundle.digest}}


def bundles(folder: Path) -> list[Bundle]:
    key = create_key(folder / "keys")
    made = []
    for semver in ("1.0.0", "1.1.0"):
        build_tiny_release(folder / semver, semver=semver, key=key, frames=2)
        made.append(read_bundle(folder / semver))
    return made


def test_roles_follow_the_slot_through_update_and_rollback(tmp_path: Path) -> None:
    one, two = bundles(tmp_path)
    registry = MemoryRegistry()
    for bundle in (one, two):
        registry.register(bundle, run_id="run")
    for champion, previous in ((one, None), (two, one), (one, two)):
        status = {
            "line": "plate",
            "champion": worker(champion),
            "previous": worker(previous) if previous else None,
        }
        follow_roles(registry, status)
        holder = registry.holder("plate", Role.CHAMPION)
        assert holder is not None
        assert holder.digest == champion.digest
        if previous is not None:
            second = registry.holder("plate", Role.PREVIOUS)
            assert second is not None
            assert second.digest == previous.digest


def test_unregistered_release_is_said_and_undoes_nothing(tmp_path: Path) -> None:
    one, _ = bundles(tmp_path)
    registry = MemoryRegistry()
    said = follow_roles(registry, {"line": "plate", "champion": worker(one), "previous": None})
    assert "1.0.0 not recorded (version_not_registered)" in said


def test_workspace_without_a_registry_is_left_alone(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    assert record_roles(workspace, {"line": "plate", "champion": None, "previous": None}) is None
    assert not workspace.mlflow_database.exists()
