import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sightloop
from sightloop.errors import (
    ConfigError,
    FrameShapeError,
    RefusedAtStartError,
    ServingError,
    WorkspaceError,
)
from sightloop.release.bundle import verify_bundle
from sightloop.release.signing import load_trust
from sightloop.runtime.compute import Provider
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.serving.embedded import Detector
from sightloop.serving.embedded_slot import FrameAnswer
from sightloop.serving.history import Action
from sightloop.testing.checker import BOX_TOLERANCE_PX, SCORE_TOLERANCE
from sightloop.testing.plates import PLATE_CLASSES, render_plate
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic
from sightloop.vision.detections import Detections

FRAME = render_plate(7)[0]
FRAMES = tuple(render_plate(seed)[0] for seed in range(4))


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return tiny_traffic(tmp_path_factory.mktemp("traffic"), releases=3, images=1)


@pytest.fixture
def detector(traffic: Traffic) -> Iterator[Detector]:
    with Detector("plate@1.0.0", workspace=traffic.workspace.root) as made:
        yield made


def loaded(traffic: Traffic, digest: str) -> LoadedRelease:
    trust = load_trust(traffic.workspace.keys)
    bundle = verify_bundle(traffic.folder_of(digest), trust)
    return load_release(bundle.folder, bundle.manifest, bundle.digest)


def same(found: Detections, expected: Detections) -> bool:
    return (
        np.array_equal(found.classes, expected.classes)
        and np.allclose(found.boxes, expected.boxes, rtol=0, atol=BOX_TOLERANCE_PX)
        and np.allclose(found.scores, expected.scores, rtol=0, atol=SCORE_TOLERANCE)
    )


def test_root_gives_the_detector_to_users() -> None:
    assert sightloop.Detector is Detector
    with pytest.raises(AttributeError, match="Locomotive"):
        _ = sightloop.Locomotive


def test_call_gives_what_the_release_finds(detector: Detector, traffic: Traffic) -> None:
    expected = loaded(traffic, traffic.digests[0]).detect(FRAME)
    assert len(expected) > 0
    assert same(detector(FRAME), expected)
    answer = detector.detect(FRAME)
    assert same(answer.detections, expected)
    assert (answer.release, answer.classes) == (detector.release, PLATE_CLASSES)


def test_what_is_no_frame_is_refused_and_the_next_is_answered(detector: Detector) -> None:
    with pytest.raises(FrameShapeError):
        detector(FRAME[..., 0])
    assert len(detector(FRAME)) > 0


def test_bundle_outside_of_the_store_starts_a_detector(traffic: Traffic, tmp_path: Path) -> None:
    bundle = traffic.workspace.root.parent / "bundles" / "1.1.0"
    keys = sorted(traffic.workspace.keys.glob("*.pub"))
    with Detector(bundle, workspace=tmp_path / "own", trust=keys) as detector:
        assert (detector.line, detector.release.semver) == ("plate", "1.1.0")


def test_release_signed_by_nobody_trusted_starts_no_detector(
    traffic: Traffic, tmp_path: Path
) -> None:
    bundle = traffic.workspace.root.parent / "bundles" / "1.0.0"
    with pytest.raises(RefusedAtStartError, match="signer_untrusted") as caught:
        Detector(bundle, workspace=tmp_path / "own")
    assert caught.value.outcome["state"] == "FAILED"


def test_rollback_undoes_an_update_and_a_second_one_undoes_the_first(
    detector: Detector,
) -> None:
    detector.update("1.1.0")
    first, back = detector.rollback(), detector.release.semver
    second, forth = detector.rollback(), detector.release.semver
    assert (back, forth) == ("1.0.0", "1.1.0")
    assert first.switched
    assert second.switched
    actions = [event.action for event in detector.history()]
    assert actions == [Action.START, Action.UPDATE, Action.ROLLBACK, Action.ROLLBACK]


def test_rollback_goes_to_a_digest_of_the_history_through_the_gates(
    detector: Detector, traffic: Traffic
) -> None:
    detector.update("1.1.0")
    detector.update("1.2.0")
    outcome = detector.rollback(traffic.digests[0])
    assert outcome.switched
    assert [verdict.gate for verdict in outcome.verdicts][-1] == "latency"
    assert detector.release.digest == traffic.digests[0]


def test_exactly_one_previous_stays_loaded(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    real_close = LoadedRelease.close

    def close(release: LoadedRelease) -> None:
        closed.append(release.manifest.semver)
        real_close(release)

    detector.update("1.1.0")
    monkeypatch.setattr(LoadedRelease, "close", close)
    detector.update("1.2.0")
    # The gates close their copy of the champion; the slot closes the oldest.
    assert sorted(closed) == ["1.0.0", "1.1.0"]
    assert detector.previous is not None
    assert detector.previous.semver == "1.1.0"
    monkeypatch.undo()


def test_history_in_a_file_goes_on_after_a_restart(traffic: Traffic, tmp_path: Path) -> None:
    file = tmp_path / "camera-1" / "history.db"
    with Detector("plate@1.0.0", workspace=traffic.workspace.root, history=file) as detector:
        detector.update("1.1.0")
        events = detector.history()
    with Detector("plate@1.0.0", workspace=traffic.workspace.root, history=file) as again:
        assert again.history() == events
        assert again.release.semver == "1.1.0"
        assert again.previous is not None
        assert again.previous.semver == "1.0.0"
        assert again.rollback().switched


def test_two_detectors_do_not_share_a_history(traffic: Traffic, tmp_path: Path) -> None:
    file, root = tmp_path / "history.db", traffic.workspace.root
    with (
        Detector("plate@1.0.0", workspace=root, history=file),
        pytest.raises(WorkspaceError) as caught,
    ):
        Detector("plate@1.0.0", workspace=root, history=file)
    assert caught.value.reason == "history_in_use"


def test_closed_detector_says_so(traffic: Traffic) -> None:
    detector = Detector("plate@1.0.0", workspace=traffic.workspace.root)
    detector.close()
    detector.close()
    for ask in (
        lambda: detector(FRAME),
        lambda: detector.detect(FRAME),
        lambda: detector.update("1.1.0"),
        lambda: detector.rollback(),
        lambda: detector.release,
    ):
        with pytest.raises(ServingError) as caught:
            ask()
        assert caught.value.reason == "detector_closed"


def test_answers_are_never_mixed_or_stale_while_threads_hammer_and_updates_go_on(
    detector: Detector, traffic: Traffic
) -> None:
    answers: list[tuple[int, FrameAnswer]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def hammer(start: int) -> None:
        number = start
        try:
            while not done.wait(0.004):
                number = (number + 1) % len(FRAMES)
                answers.append((number, detector.detect(FRAMES[number])))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    try:
        for semver in ("1.1.0", "1.2.0", "1.1.0"):
            assert detector.update(semver).switched
            assert detector.detect(FRAME).release.semver == semver
            assert detector.rollback().release == detector.detect(FRAME).release
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert {answer.release.semver for _, answer in answers} == {"1.0.0", "1.1.0", "1.2.0"}
    oracle = {digest: loaded(traffic, digest) for digest in traffic.digests}
    expected: dict[tuple[str, int], Detections] = {
        (digest, index): release.detect(frame)
        for digest, release in oracle.items()
        for index, frame in enumerate(FRAMES)
    }
    mixed = [i for i, a in answers if not same(a.detections, expected[a.release.digest, i])]
    assert not mixed
    assert len(answers) > 100


def test_answer_names_the_release_that_computed_it_across_a_switch(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector.update("1.1.0")
    real_detect = LoadedRelease.detect

    def detect_and_switch(release: LoadedRelease, frame: NDArray[np.uint8]) -> Detections:
        found = real_detect(release, frame)
        detector.rollback()
        return found

    monkeypatch.setattr(LoadedRelease, "detect", detect_and_switch)
    assert detector.detect(FRAME).release.semver == "1.1.0"
    assert detector.release.semver == "1.0.0"
    monkeypatch.undo()


def test_answers_of_the_releases_differ_so_that_mixing_would_show(traffic: Traffic) -> None:
    for frame in FRAMES:
        found: list[Detections] = [loaded(traffic, d).detect(frame) for d in traffic.digests]
        assert not same(found[0], found[1])
        assert not same(found[1], found[2])


def test_frame_is_answered_while_an_update_is_at_the_gates(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_gates, go_on = threading.Event(), threading.Event()
    real_detect = LoadedRelease.detect

    def detect(
        release: LoadedRelease,
        frame: NDArray[np.uint8],
        *,
        score_threshold: float | None = None,
    ) -> Detections:
        if threading.current_thread().name == "sightloop-update":
            at_gates.set()
            assert go_on.wait(30)
        return real_detect(release, frame, score_threshold=score_threshold)

    monkeypatch.setattr(LoadedRelease, "detect", detect)
    update = detector.start_update("1.1.0")
    assert at_gates.wait(30)
    assert detector.detect(FRAME).release.semver == "1.0.0"
    go_on.set()
    assert update.result(30).switched
    assert detector.detect(FRAME).release.semver == "1.1.0"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"provider": "gpu"}, "serve.provider.*found 'gpu'"),
        ({"threads": 0}, "serve.threads.*found 0"),
        ({"threads": 65}, "serve.threads.*found 65"),
    ],
)
def test_provider_and_threads_are_those_of_a_server(
    traffic: Traffic, settings: dict[str, Any], found: str
) -> None:
    with pytest.raises(ConfigError, match=found):
        Detector("plate@1.0.0", workspace=traffic.workspace.root, **settings)


def verdicts_of(error: RefusedAtStartError) -> list[dict[str, str]]:
    found = error.outcome["verdicts"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("provider", Provider)
def test_detector_on_a_provider_answers_as_the_cpu_does_through_an_update(
    traffic: Traffic, provider: Provider
) -> None:
    try:
        detector = Detector(
            "plate@1.0.0", workspace=traffic.workspace.root, provider=provider.value, threads=2
        )
    except RefusedAtStartError as error:
        (verdict,) = [v for v in verdicts_of(error) if v["outcome"] != "PASS"]
        reason = verdict["reason"]
        assert provider is not Provider.CPU
        assert reason in ("provider_not_installed", "provider_not_started")
        pytest.skip(f"{provider}: {reason} on this machine")
    with detector:
        for semver, digest in zip(("1.0.0", "1.1.0"), traffic.digests, strict=False):
            if semver != "1.0.0":
                assert detector.update(semver).switched
            held = detector.slot.table.champion
            assert held is not None
            assert held.release.digest == digest
            assert detector._orders._parts.compute.provider is provider
            found, expected = detector(FRAME), loaded(traffic, digest).detect(FRAME)
            assert len(expected) > 0
            assert np.array_equal(found.classes, expected.classes)
            assert np.allclose(found.boxes, expected.boxes, rtol=0, atol=0.05)
