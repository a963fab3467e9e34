"""Promise: a release comes out of one file whole or not at all, whatever stops the import."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightloop.distribution.store import ReleaseStore
from sightloop.errors import WorkspaceError
from sightloop.release import archive as archive_module
from sightloop.release.archive import Progress, write_archive
from sightloop.release.bundle import Bundle
from sightloop.release.signing import TrustStore

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from sightloop.cli.main import main
main()
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from sightloop.distribution import store as module
from sightloop.release.signing import load_trust
module.sync_tree = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
module.ReleaseStore(Path(sys.argv[1])).add_archive(Path(sys.argv[2]), load_trust(Path(sys.argv[3])))
"""


@pytest.fixture
def archive(node: Any, bundle: Path, tmp_path: Path) -> Path:
    """A good release 1.1.0 as one file."""
    file = tmp_path / "good.sightloop"
    write_archive(bundle, file, node.trust)
    return file


def _run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("limit_bytes", [0, 1000, 20_000])
def test_import_onto_a_full_disk_keeps_nothing(
    node: Any, archive: Path, tmp_path: Path, limit_bytes: int
) -> None:
    arguments = ("release", "import", archive, "--workspace", tmp_path, "--json")
    done = _run(LIMITED, limit_bytes, *arguments)
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["error"]["reason"] == "store_failed"
    assert not list((tmp_path / "releases").iterdir())
    assert _run(LIMITED, -1, *arguments).returncode == 0, "with room it goes through"


@pytest.mark.parametrize("limit_bytes", [0, 1000, 20_000])
def test_export_onto_a_full_disk_leaves_no_file(
    node: Any, bundle: Path, tmp_path: Path, limit_bytes: int
) -> None:
    out = tmp_path / "out" / "x.sightloop"
    out.parent.mkdir()
    done = _run(
        LIMITED, limit_bytes, "release", "export", bundle, "--out", out, "--workspace", tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert "[file_unwritable]" in done.stderr
    assert not list(out.parent.iterdir())


def test_killed_import_is_no_release_and_is_swept_up_by_the_next(
    node: Any, archive: Path, tmp_path: Path
) -> None:
    store = ReleaseStore(tmp_path / "other")
    done = _run(KILLED, store.root, archive, tmp_path / "keys")
    assert done.returncode == -signal.SIGKILL
    assert len(list(store.root.iterdir())) == 1, "it was killed with its work unpublished"
    assert store.entries() == ()
    bundle = store.add_archive(archive, node.trust)
    assert list(store.root.iterdir()) == [bundle.folder]


def test_importing_what_is_there_replaces_a_damaged_copy(node: Any, archive: Path) -> None:
    first = node.store.add_archive(archive, node.trust)
    model = first.model
    model.chmod(0o644)
    model.write_bytes(b"damaged")
    assert node.store.add_archive(archive, node.trust) == first
    assert model.read_bytes() != b"damaged"


def test_imported_release_passes_the_gates(node: Any, archive: Path) -> None:
    bundle = node.store.add_archive(archive, node.trust)
    assert all(verdict.passed for verdict in node.offer(bundle.folder).verdicts)


def test_disk_error_halfway_is_said_as_such(
    node: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(node.store.root.iterdir())

    def unpack(file: Path, target: Path, trust: TrustStore, *, progress: Progress) -> Bundle:
        archive_module.unpack_archive(file, target, trust)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sightloop.distribution.store.unpack_archive", unpack)
    with pytest.raises(WorkspaceError) as caught:
        node.store.add_archive(archive, node.trust)
    assert caught.value.reason == "store_failed"
    assert sorted(node.store.root.iterdir()) == before
