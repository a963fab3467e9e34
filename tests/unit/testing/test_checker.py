from pathlib import Path

import pytest

from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.loaded_release import detections_as_json, load_release
from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import Switch, check_records, same_detections, stale_frames
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import encode_jpeg

FOUND = [{"class": "pit", "class_id": 0, "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}]


def record(seq: int, sent_s: float, digest: str, *, answered_s: float | None = None) -> FrameRecord:
    body = {"release": {"semver": "1.0.0", "digest": digest}, "detections": []}
    return FrameRecord(seq, 0, sent_s, sent_s, answered_s or sent_s + 0.01, 200, body)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [*FOUND, *FOUND],
        [{**FOUND[0], "class": "spot"}],
        [{**FOUND[0], "score": 0.501}],
        [{**FOUND[0], "box": [1.0, 2.0, 3.0, 4.01]}],
    ],
)
def test_other_detections_are_told_apart(other: list[dict[str, object]]) -> None:
    assert same_detections(FOUND, FOUND)
    assert not same_detections(FOUND, other)


def test_answer_of_the_old_release_after_the_acknowledgement_is_stale() -> None:
    switches = [Switch(10.0, 10.5, "new"), Switch(20.0, 20.5, "newer")]
    records = [
        record(0, 10.2, "old"),  # between order and acknowledgement: either may answer
        record(1, 10.6, "old"),
        record(2, 10.7, "new"),
        record(3, 19.995, "newer", answered_s=20.6),  # in flight across the next order
        record(4, 21.0, "new"),
        record(5, 22.0, "newer"),
    ]
    assert [frame.seq for frame in stale_frames(records, switches)] == [1, 4]


def test_every_answer_is_computed_again_with_the_release_it_names(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    folders: dict[str, Path] = {}
    for variant, semver in enumerate(("1.0.0", "1.1.0")):
        folder = tmp_path / semver
        build_tiny_release(folder, semver=semver, key=key, variant=variant, frames=2)
        folders[read_bundle(folder).digest] = folder
    image = encode_jpeg(render_plate(1)[0])
    one, two = folders
    bundle = read_bundle(folders[one])
    loaded = load_release(bundle.folder, bundle.manifest, bundle.digest)
    found = detections_as_json(loaded.answer(image).detections, loaded.classes)

    def answered(seq: int, digest: str) -> FrameRecord:
        body = {"release": {"semver": "x", "digest": digest}, "detections": found}
        return FrameRecord(seq, 0, 1.0, 1.0, 1.01, 200, body)

    lost = FrameRecord(2, 0, 1.0, 1.0, None, 0, {"lost": "closed"})
    result = check_records(
        [answered(0, one), answered(1, two), lost],
        [image],
        switches=[],
        folder_of=folders.__getitem__,
    )
    assert (result.sent, result.answered, result.checked) == (3, 2, 2)
    assert (result.lost, result.mixed) == (1, 1)
    assert "frame 1: not what release" in result.faults[0]
