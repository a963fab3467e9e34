"""Promise: every byte is as signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightloop.release.manifest import manifest_from_bytes


def _flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def _files(bundle: Path) -> list[str]:
    return sorted(manifest_from_bytes((bundle / "manifest.json").read_bytes()).files)


@pytest.mark.parametrize("position", [0, 1000, -1])
def test_one_flipped_bit_of_the_weights_is_refused(node: Any, bundle: Path, position: int) -> None:
    _flip(bundle / "model.onnx", position)
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "digest_mismatch")
    assert "model.onnx" in verdict.message


def test_one_flipped_bit_of_any_other_file_is_refused(node: Any, bundle: Path) -> None:
    for name in _files(bundle):
        _flip(bundle / name, 5)
        verdict = node.refusal(bundle)
        assert (verdict.gate, verdict.reason) == ("integrity", "digest_mismatch"), name
        _flip(bundle / name, 5)
    assert node.offer(bundle).loaded is not None


def test_flipped_bit_is_refused_though_the_good_release_is_in_the_store(
    node: Any, bundle: Path
) -> None:
    node.store.add(bundle, node.trust)
    _flip(bundle / "model.onnx", 77)
    assert node.refusal(bundle).reason == "digest_mismatch"


@pytest.mark.parametrize("change", [b"", b"x"])
def test_file_of_another_size_is_refused(node: Any, bundle: Path, change: bytes) -> None:
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] if not change else path.read_bytes() + change)
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "size_mismatch")


def test_changed_manifest_is_refused_even_if_it_says_the_same(node: Any, bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert node.refusal(bundle).reason == "signature_invalid"


def test_lowered_threshold_in_the_manifest_is_refused(node: Any, bundle: Path) -> None:
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    value["calibration"]["tolerances"]["matched_min"] = 0.0
    path.write_text(json.dumps(value))
    assert node.refusal(bundle).reason == "signature_invalid"


def test_damage_in_the_store_is_found_and_repaired_from_the_bundle(node: Any, bundle: Path) -> None:
    stored = node.store.add(bundle, node.trust).folder
    (stored / "model.onnx").chmod(0o644)
    _flip(stored / "model.onnx", 3)
    assert node.refusal(stored).reason == "digest_mismatch"
    assert node.offer(bundle).loaded is not None
    assert node.store.get(stored.name, node.trust).folder == stored
