"""Kept answers count for exactly what they were computed with, and undamaged."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from sightloop.gates import kept_answers
from sightloop.gates.kept_answers import ReleaseAnswers, keep_answers, key_of, load_answers
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import create_key, load_trust
from sightloop.runtime.compute import ON_CPU, Compute
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.detections import Detections, no_detections


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("release")
    key = create_key(folder / "keys")
    build_tiny_release(folder / "b", semver="1.0.0", key=key, frames=2)
    return verify_bundle(folder / "b", load_trust(folder / "keys"))


def _found(seed: int) -> Detections:
    rng = np.random.default_rng(seed)
    return Detections(
        rng.random((3, 4), np.float32), rng.random(3, np.float32), np.array([0, 1, 1])
    )


ANSWERS = {"f" * 64: _found(1), "e" * 64: no_detections()}


def _keep(folder: Path, bundle: Bundle, *, threads: int = 1) -> Path:
    keep_answers(
        folder,
        ReleaseAnswers(bundle.digest, key_of(bundle, compute=Compute(threads=threads)), ANSWERS),
    )
    return folder / f"{bundle.digest}.json"


def test_answers_come_back_bit_for_bit(bundle: Bundle, tmp_path: Path) -> None:
    _keep(tmp_path / "answers", bundle)
    again = load_answers(tmp_path / "answers", key_of(bundle, compute=ON_CPU))
    assert set(again) == set(ANSWERS)
    for key, found in ANSWERS.items():
        for name in ("boxes", "scores", "classes"):
            ours, its = getattr(again[key], name), getattr(found, name)
            assert ours.dtype == its.dtype
            assert ours.shape == its.shape
            assert ours.tobytes() == its.tobytes()


@pytest.mark.parametrize("changed", ["release", "frames", "software", "hardware", "threads"])
def test_answers_computed_with_anything_else_do_not_count(
    bundle: Bundle, tmp_path: Path, changed: str
) -> None:
    path = _keep(tmp_path, bundle)
    key = {**key_of(bundle, compute=ON_CPU), changed: "another"}
    if changed == "release":
        path.rename(tmp_path / "another.json")
    assert load_answers(tmp_path, key) == {}


def test_nothing_kept_is_nothing_known(bundle: Bundle, tmp_path: Path) -> None:
    assert load_answers(tmp_path / "absent", key_of(bundle, compute=ON_CPU)) == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"[]",
        lambda data: b"\xff" + data,
        lambda data: data.replace(b"sightloop.answers/1", b"sightloop.answers/2"),
        lambda data: data.replace(b"[0,1,1]", b"[0,1,0]"),
        lambda data: b"[" * 100_000,
    ],
)
def test_damaged_answers_do_not_count(bundle: Bundle, tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    path = _keep(tmp_path, bundle)
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    assert path.read_bytes() != good
    assert load_answers(tmp_path, key_of(bundle, compute=ON_CPU)) == {}


def test_answers_of_broken_shape_do_not_count_even_with_a_right_checksum(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = _keep(tmp_path, bundle)
    content = json.loads(path.read_bytes())["content"]
    content["answers"]["f" * 64]["scores"].pop()
    digest = hashlib.sha256(kept_answers._canonical(content)).hexdigest()
    path.write_text(json.dumps({"content": content, "sha256": digest}))
    assert load_answers(tmp_path, key_of(bundle, compute=ON_CPU)) == {}


def test_folder_that_cannot_be_written_costs_nothing(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file in the way")
    _keep(tmp_path / "answers", bundle)
    assert load_answers(tmp_path / "answers", key_of(bundle, compute=ON_CPU)) == {}


def test_only_the_last_ones_are_kept(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_answers, "FILES_MAX", 2)
    for number, name in enumerate(("old", "older", "new")):
        path = tmp_path / f"{name}.json"
        path.write_text("{}")
        os.utime(path, (1000 + {"older": 0, "old": 1, "new": 2}[name], number))
        os.utime(path, (1000, 1000 + {"older": 0, "old": 1, "new": 2}[name]))
    mine = _keep(tmp_path, bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, "new.json"])
