"""A release from a network and labels: what is read off, what is refused, and that it serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sightloop.dataset.version import Split
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ConfigError, DatasetError, ModelContractError
from sightloop.gates.chain import admit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.pipeline.exported_model import ModelContractFile
from sightloop.pipeline.release_builder import (
    BuildSpec,
    Layout,
    build_into_store,
    build_release,
    contract_of_network,
)
from sightloop.release.bundle import verify_bundle
from sightloop.release.signing import create_key, load_trust
from sightloop.runtime.backend import ModelContract
from sightloop.testing.plate_dataset import turn_into_coco, write_plate_dataset
from sightloop.testing.tiny_detectors import build_tiny_detector, render_plate
from sightloop.vision.decode import encode_png


@pytest.fixture
def spec(tmp_path: Path) -> BuildSpec:
    """A tiny detector and twelve labelled plates."""
    for part in ("images", "labels"):
        (tmp_path / "data" / part / "val").mkdir(parents=True)
    for seed in range(12):
        frame, labels = render_plate(seed)
        (tmp_path / "data" / "images" / "val" / f"{seed:02d}.png").write_bytes(encode_png(frame))
        rows = []
        for (x1, y1, x2, y2), index in zip(
            labels.boxes.tolist(), labels.classes.tolist(), strict=True
        ):
            values = ((x1 + x2) / 320, (y1 + y2) / 320, (x2 - x1) / 160, (y2 - y1) / 160)
            rows.append(f"{index} " + " ".join(f"{value:.6f}" for value in values))
        (tmp_path / "data" / "labels" / "val" / f"{seed:02d}.txt").write_text("\n".join(rows))
    data = tmp_path / "data" / "data.yaml"
    data.write_text("train: images/val\nval: images/val\nnames: [pit, spot]\n")
    build_tiny_detector(tmp_path / "plate.onnx")
    return BuildSpec(tmp_path / "plate.onnx", data, "plate", "1.0.0", frames=8)


def test_built_release_passes_every_gate(tmp_path: Path, spec: BuildSpec) -> None:
    key = create_key(tmp_path / "keys")
    trust = load_trust(tmp_path / "keys")
    store = ReleaseStore(tmp_path / "store")
    bundle = build_into_store(spec, store=store, trust=trust, key=key)
    admission = admit(
        bundle.folder,
        store=store,
        trust=trust,
        line="plate",
        champion_folder=None,
        accepted=AcceptedReleases(None, frozenset()),
    )
    assert admission.loaded is not None, admission.verdicts[-1]
    manifest = bundle.manifest
    assert manifest.calibration.expected_from == "labels"
    assert len(manifest.calibration.frames) == 8
    assert manifest.metrics.map50 is not None
    assert manifest.metrics.map50 > 0.9
    assert manifest.latency is not None
    assert manifest.lineage.dataset_version is not None


def test_release_is_written_where_it_is_asked_for(tmp_path: Path, spec: BuildSpec) -> None:
    key = create_key(tmp_path / "keys")
    bundle = build_release(spec, folder=tmp_path / "out", key=key)
    assert verify_bundle(tmp_path / "out", load_trust(tmp_path / "keys")) == bundle


def test_user_data_is_not_written_to(tmp_path: Path, spec: BuildSpec) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    build_release(spec, folder=tmp_path / "out", key=create_key(tmp_path / "keys"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


def test_images_without_labels_are_refused(tmp_path: Path, spec: BuildSpec) -> None:
    for label in (tmp_path / "data" / "labels" / "val").iterdir():
        label.unlink()
    with pytest.raises(DatasetError) as caught:
        build_release(spec, folder=tmp_path / "out", key=create_key(tmp_path / "keys"))
    assert caught.value.reason == "label_missing"
    assert not (tmp_path / "out").exists()


def test_class_list_that_is_not_the_networks_is_refused(tmp_path: Path, spec: BuildSpec) -> None:
    spec.data.write_text("train: images/val\nval: images/val\nnames: [pit, spot, dent]\n")
    with pytest.raises(ModelContractError) as caught:
        build_release(spec, folder=tmp_path / "out", key=create_key(tmp_path / "keys"))
    assert caught.value.reason == "classes_do_not_fit"


@pytest.mark.parametrize(
    ("line", "semver", "frames", "score"),
    [
        ("Plate", "1.0.0", 8, 0.25),
        ("plate", "1.0", 8, 0.25),
        ("plate", "1.0.0", 0, 0.25),
        ("plate", "1.0.0", 8, 1.0),
    ],
)
def test_impossible_request_is_refused_before_anything_runs(
    tmp_path: Path, line: str, semver: str, frames: int, score: float
) -> None:
    spec = BuildSpec(Path("none"), Path("none"), line, semver, frames=frames, score=score)
    with pytest.raises(ConfigError):
        build_release(spec, folder=tmp_path / "out", key=create_key(tmp_path / "keys"))


def _contract(shape: tuple[int, ...], classes: int, layout: Layout | None) -> ModelContractFile:
    found = ModelContract("images", (1, 3, 640, 640), "output0", shape)
    names = tuple(f"class {index}" for index in range(classes))
    return contract_of_network(found, names, layout=layout)


@pytest.mark.parametrize(
    ("shape", "classes", "layout", "expected"),
    [
        ((1, 84, 8400), 80, None, "raw"),
        ((1, 300, 6), 80, None, "end_to_end"),
        ((1, 6, 6), 2, "raw", "raw"),
        ((1, 6, 6), 2, "end_to_end", "end_to_end"),
    ],
)
def test_layout_is_read_off_the_shape_or_asked_for(
    shape: tuple[int, ...], classes: int, layout: Layout | None, expected: str
) -> None:
    assert _contract(shape, classes, layout).output.layout == expected


@pytest.mark.parametrize(
    ("shape", "classes", "layout", "reason"),
    [
        ((1, 6, 6), 2, None, "layout_ambiguous"),
        ((1, 84, 8400), 80, "end_to_end", "classes_do_not_fit"),
        ((1, 8400, 84), 80, None, "classes_do_not_fit"),
        ((2, 84, 8400), 80, None, "classes_do_not_fit"),
        ((84, 8400), 80, None, "classes_do_not_fit"),
    ],
)
def test_output_that_fits_no_layout_or_both_is_refused(
    shape: tuple[int, ...], classes: int, layout: Layout | None, reason: str
) -> None:
    with pytest.raises(ModelContractError) as caught:
        _contract(shape, classes, layout)
    assert caught.value.reason == reason


@pytest.mark.parametrize("shape", [(1, 3, 640, 480), (1, 1, 640, 640), (8, 3, 640, 640)])
def test_input_that_is_no_colour_square_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelContractError) as caught:
        contract_of_network(ModelContract("images", shape, "output0", (1, 5, 9)), ("pit",))
    assert caught.value.reason == "input_shape"


def test_labels_may_be_coco(tmp_path: Path, spec: BuildSpec) -> None:
    counts: dict[Split, int] = {"train": 1, "val": 8}
    data = turn_into_coco(write_plate_dataset(tmp_path / "coco", counts))
    key = create_key(tmp_path / "keys")
    built = build_release(replace(spec, data=data), folder=tmp_path / "release", key=key)
    assert built.manifest.classes == ("pit", "spot")
    assert built.manifest.metrics.map50 is not None
    assert built.manifest.metrics.map50 > 0.9


def test_a_faulty_coco_label_names_its_image(tmp_path: Path, spec: BuildSpec) -> None:
    counts: dict[Split, int] = {"train": 1, "val": 2}
    data = turn_into_coco(write_plate_dataset(tmp_path / "coco", counts))
    labels = data / "annotations" / "instances_val.json"
    value = json.loads(labels.read_text())
    value["annotations"][0]["bbox"] = [500, 500, 10, 10]
    labels.write_text(json.dumps(value))
    key = create_key(tmp_path / "keys")
    with pytest.raises(DatasetError) as caught:
        build_release(replace(spec, data=data), folder=tmp_path / "release", key=key)
    assert caught.value.reason == "label_outside"
    assert "images/val/plate-000.png, line 1" in caught.value.message
