"""Promise: weights are ONNX; a pickle in their place runs no code, whatever name it bears."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def bare(mark: Path) -> bytes:
    return pickle.dumps(Payload(mark))


def as_checkpoint(mark: Path) -> bytes:
    """In the form of a `.pt`: a zip with a pickle inside."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", bare(mark))
    return data.getvalue()


@pytest.mark.parametrize("make", [bare, as_checkpoint])
def test_pickle_in_the_place_of_the_network_is_refused_and_runs_nothing(
    node: Any, tmp_path: Path, make: Any
) -> None:
    mark = tmp_path / "ran"
    pickle.loads(bare(mark))
    assert mark.is_dir(), "the payload works where somebody unpickles it"
    mark.rmdir()
    candidate = node.candidate()
    node_model = candidate / "model.onnx"
    node_model.write_bytes(make(mark))
    assert node.refusal(candidate).reason in {"digest_mismatch", "size_mismatch"}
    assert not mark.exists()


@pytest.mark.parametrize("make", [bare, as_checkpoint])
def test_makers_own_signature_makes_a_pickle_no_network(
    node: Any, tmp_path: Path, sign_again: Any, make: Any
) -> None:
    import hashlib
    import json

    mark = tmp_path / "ran"
    candidate = node.candidate()
    data = make(mark)
    (candidate / "model.onnx").write_bytes(data)
    manifest = json.loads((candidate / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
    }
    (candidate / "manifest.json").write_text(json.dumps(manifest))
    sign_again(candidate)
    assert node.refusal(candidate).reason == "model_unloadable"
    assert not mark.exists()
