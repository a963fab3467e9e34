"""The model card: signed with the release, true to its manifest, and closed to markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.errors import DigestMismatchError
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.manifest import CARD_NAME, Lineage, Metrics, Weights
from sightloop.release.model_card import model_card
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release

EVIL = "x | y\n# Heading <script>alert(1)</script> [a](http://b) `c`"


def _build(tmp_path: Path) -> Bundle:
    key = create_key(tmp_path / "keys")
    build_tiny_release(
        tmp_path / "bundle",
        semver="1.2.0",
        key=key,
        frames=1,
        metrics=Metrics(
            map50=0.9123, per_class_ap50={"pit": 0.8, "spot": None}, per_slice_ap50={"dark": 0.42}
        ),
        lineage=Lineage(dataset_version="d" * 64, hyperparameters={"epochs": 3, "seed": None}),
        weights=Weights(license=EVIL, origin="origin"),
    )
    return verify_bundle(tmp_path / "bundle", load_trust(tmp_path / "keys"))


def test_card_says_what_the_manifest_says(tmp_path: Path) -> None:
    text = (_build(tmp_path).folder / CARD_NAME).read_text()
    for said in ("# plate 1.2.0", "0.912", "| spot | no labels |", "| dark | 0.420 |", "d" * 64):
        assert said in text
    assert "| epochs | 3 |" in text
    assert "| seed | none |" in text


def test_card_is_the_text_of_its_own_manifest(tmp_path: Path) -> None:
    bundle = _build(tmp_path)
    assert (bundle.folder / CARD_NAME).read_text() == model_card(bundle.manifest)


def test_changed_card_refuses_the_release(tmp_path: Path) -> None:
    card = _build(tmp_path).folder / CARD_NAME
    card.write_bytes(card.read_bytes().replace(b"0.912", b"0.999"))
    with pytest.raises(DigestMismatchError):
        verify_bundle(tmp_path / "bundle", load_trust(tmp_path / "keys"))


def test_text_from_outside_stays_in_its_cell(tmp_path: Path) -> None:
    lines = model_card(_build(tmp_path).manifest).splitlines()
    row = next(line for line in lines if line.startswith("| licence"))
    assert r"x \| y \# Heading \<script\>" in row
    assert r"\[a\]\(http://b\) \`c\`" in row
