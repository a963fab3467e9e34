"""Answers of a batch: each its own, in order, under its own label."""

from __future__ import annotations

import json

import pytest

from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.compute import Compute
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.serving.answering import Answered, answer_request, detect_batch
from sightloop.serving.wire import Kind
from sightloop.testing.tiny_detectors import build_tiny_release, render_plate
from sightloop.vision.decode import DecodeLimits, encode_png

LIMITS = DecodeLimits()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> LoadedRelease:
    folder = tmp_path_factory.mktemp("release")
    key = create_key(folder / "keys")
    build_tiny_release(folder / "bundle", semver="1.0.0", key=key, frames=2, free_batch=True)
    bundle = read_bundle(folder / "bundle")
    return load_release(bundle.folder, bundle.manifest, bundle.digest, compute=Compute(batch_max=8))


def image(seed: int) -> bytes:
    return encode_png(render_plate(seed)[0])


def found(answered: Answered) -> object:
    value = json.loads(answered.body)
    return value["detections"], value["release"], value["image"]


def test_answers_of_a_batch_are_those_of_each_frame_alone(release: LoadedRelease) -> None:
    images = [image(seed) for seed in range(8)]
    together = detect_batch(release, images, LIMITS)
    alone = [answer_request(release, Kind.DETECT, one, LIMITS) for one in images]
    assert [one.status for one in together] == [200] * 8
    assert [found(one) for one in together] == [found(one) for one in alone]


def test_frame_without_an_answer_costs_no_other_frame_its_own(release: LoadedRelease) -> None:
    images = [image(0), b"no image", image(1), b""]
    answers = detect_batch(release, images, LIMITS)
    assert [one.status for one in answers] == [200, 400, 200, 400]
    assert json.loads(answers[1].body)["error"]["reason"] == "image_undecodable"
    for place in (0, 2):
        alone = answer_request(release, Kind.DETECT, images[place], LIMITS)
        assert found(answers[place]) == found(alone)


def test_batch_of_frames_that_have_no_answer_runs_nothing(release: LoadedRelease) -> None:
    assert [one.status for one in detect_batch(release, [b"", b"x"], LIMITS)] == [400, 400]


def test_share_of_the_run_is_what_a_frame_is_said_to_take(release: LoadedRelease) -> None:
    times = [one.times for one in detect_batch(release, [image(0), image(1)], LIMITS)]
    assert times[0].inference_us == times[1].inference_us > 0
