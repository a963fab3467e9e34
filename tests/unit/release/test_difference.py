"""What differs between two releases: all of it, and nothing that is equal."""

from __future__ import annotations

import pytest

from sightloop.release.bundle import read_bundle
from sightloop.release.difference import METRICS, Difference, differences
from sightloop.release.manifest import Lineage, Manifest, Metrics, Thresholds
from sightloop.release.signing import create_key
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("release")
    key = create_key(folder / "keys")
    build_tiny_release(
        folder / "bundle",
        semver="1.0.0",
        key=key,
        frames=1,
        lineage=Lineage(
            dataset_version="one",
            git_commit="abc",
            hyperparameters={"epochs": 10, "seed": 1},
            toolchain={"torch": "2.1"},
        ),
        metrics=Metrics(map50=0.5, per_class_ap50={"pit": 0.5, "spot": None}),
    )
    return read_bundle(folder / "bundle").manifest


def test_equal_releases_differ_in_nothing(manifest: Manifest) -> None:
    assert differences(manifest, manifest.model_copy(update={"semver": "1.1.0"})) == ()


def test_every_part_is_compared(manifest: Manifest) -> None:
    lineage = Lineage(
        dataset_version="two",
        git_commit="abc",
        hyperparameters={"epochs": 20, "seed": 1, "batch": 8},
        toolchain={},
    )
    metrics = Metrics(
        map50=0.75, per_class_ap50={"pit": 0.5, "spot": 0.25}, per_slice_ap50={"dark": 0.125}
    )
    after = manifest.model_copy(
        update={"lineage": lineage, "metrics": metrics, "thresholds": Thresholds(score=0.5)}
    )
    assert differences(manifest, after) == (
        Difference("data", "dataset version", "one", "two"),
        Difference("settings", "epochs", 10, 20),
        Difference("settings", "batch", None, 8),
        Difference("code and toolchain", "torch", "2.1", None),
        Difference("operation", "score threshold", 0.25, 0.5),
        Difference("metrics", "mAP50", 0.5, 0.75),
        Difference("metrics", "AP50 of spot", None, 0.25),
        Difference("metrics", "AP50 in slice dark", None, 0.125),
    )


@pytest.mark.parametrize(
    ("before", "after", "change"), [(0.5, 0.25, -0.25), (None, 0.5, None), (0.5, None, None)]
)
def test_change_of_a_figure_needs_both(
    before: float | None, after: float | None, change: float | None
) -> None:
    assert Difference(METRICS, "mAP50", before, after).change == change


def test_settings_have_no_rise() -> None:
    assert Difference("settings", "epochs", 10, 20).change is None
    assert Difference(METRICS, "measured on", "a", "b").change is None
