from __future__ import annotations

from pathlib import Path

from sightloop.config.workspace import open_workspace
from sightloop.demo.stage import TinyStage
from sightloop.release.bundle import Bundle
from sightloop.runtime.loaded_release import detections_as_json, load_release


def _answers(bundle: Bundle, images: list[bytes]) -> list[object]:
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    try:
        return [
            detections_as_json(release.answer(image).detections, release.classes)
            for image in images
        ]
    finally:
        release.close()


def test_the_two_quick_releases_answer_differently_on_every_image(tmp_path: Path) -> None:
    """Otherwise an answer under the wrong name could not be told."""
    stage = TinyStage(tmp_path, open_workspace(tmp_path / "workspace"))
    notes: list[str] = []
    first, second = stage.first(notes.append), stage.second(notes.append)
    images = [image.data for image in stage.test_set()]
    assert len(images) == len(set(images)) == 60
    pairs = zip(_answers(first, images), _answers(second, images), strict=True)
    assert all(one != other for one, other in pairs)
    assert [one.manifest.semver for one in (first, second)] == ["1.0.0", "1.1.0"]
    assert len(notes) == 2


def test_a_second_quick_demo_makes_the_same_releases(tmp_path: Path) -> None:
    stage = TinyStage(tmp_path, open_workspace(tmp_path / "workspace"))
    assert stage.first(lambda _: None).digest == stage.first(lambda _: None).digest
