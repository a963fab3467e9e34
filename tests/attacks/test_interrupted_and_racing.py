"""Promise: what runs is what was verified, whatever happens to the source or the process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightloop.errors import BundleError
from sightloop.release import bundle as bundle_module
from sightloop.release import folder as folder_module
from sightloop.release.bundle import verify_bundle

_ADD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from sightloop.distribution import store as module
from sightloop.release.signing import load_trust
module.{point} = lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL)
module.ReleaseStore(Path(sys.argv[1])).add(Path(sys.argv[2]), load_trust(Path(sys.argv[3])))
"""


@pytest.mark.parametrize("point", ["sync_tree", "os.rename"])
def test_process_killed_while_adding_leaves_nothing_that_is_read(
    node: Any, bundle: Path, point: str
) -> None:
    arguments = [str(node.store.root), str(bundle), str(node.folder / "keys")]
    ended = subprocess.run(
        [sys.executable, "-c", _ADD_AND_DIE.format(point=point), *arguments], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert [path.name[:5] for path in node.store.root.iterdir() if path != node.champion] == [
        ".tmp-"
    ]
    assert [entry.digest for entry in node.store.entries()] == [node.champion.name]
    assert node.store.drop_unfinished() == 1
    assert list(node.store.root.iterdir()) == [node.champion]


def test_writer_at_work_keeps_its_folder(node: Any) -> None:
    with node.store._temporary() as folder:
        assert node.store.drop_unfinished() == 0
        assert folder.is_dir()


def test_source_changed_after_it_was_read_does_not_change_what_runs(
    node: Any, bundle: Path
) -> None:
    stored = node.store.add(bundle, node.trust)
    for path in bundle.rglob("*"):
        if path.is_file():
            path.write_bytes(b"changed")
    assert verify_bundle(stored.folder, node.trust) == stored


def test_source_changed_while_it_is_copied_is_refused(
    node: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing and the copy another file takes the place of the weights."""
    listed = folder_module.check_listing

    def list_then_swap(root: int, *, files: frozenset[str]) -> None:
        listed(root, files=files)
        data = bytearray((bundle / "model.onnx").read_bytes())
        data[100] ^= 1
        (bundle / "model.onnx").write_bytes(bytes(data))

    monkeypatch.setattr(bundle_module, "check_listing", list_then_swap)
    with pytest.raises(BundleError) as caught:
        node.store.add(bundle, node.trust)
    assert caught.value.reason == "digest_mismatch"
    assert list(node.store.root.iterdir()) == [node.champion]


def test_link_put_in_while_it_is_copied_is_refused(
    node: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = folder_module.check_listing

    def list_then_link(root: int, *, files: frozenset[str]) -> None:
        listed(root, files=files)
        shutil.move(bundle / "calibration", tmp_path / "outside")
        os.symlink(tmp_path / "outside", bundle / "calibration")

    monkeypatch.setattr(bundle_module, "check_listing", list_then_link)
    with pytest.raises(BundleError) as caught:
        node.store.add(bundle, node.trust)
    assert caught.value.reason in {"file_linked", "file_missing"}
