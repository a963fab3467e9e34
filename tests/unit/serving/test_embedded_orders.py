import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy.exc import OperationalError

from sightloop._support.clock import SystemClock
from sightloop.errors import (
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    ServingError,
    UpdateInProgressError,
)
from sightloop.release.signing import load_signing_key
from sightloop.runtime.loaded_release import LoadedRelease
from sightloop.serving.embedded import Detector
from sightloop.serving.history import Action, HistoryStore, SlotEvent
from sightloop.testing.bad_models import shift_image
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic
from sightloop.vision.detections import Detections

FRAME = render_plate(7)[0]
UPDATE_THREAD = "sightloop-update"
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return tiny_traffic(tmp_path_factory.mktemp("traffic"), images=1)


@pytest.fixture
def detector(traffic: Traffic) -> Iterator[Detector]:
    with Detector("plate@1.0.0", workspace=traffic.workspace.root) as made:
        yield made


class Barrier:
    """Holds the update's thread at its first frame until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.nice: set[int] = set()
        self.ids: set[int] = set()
        real = LoadedRelease.detect

        def detect(
            release: LoadedRelease,
            frame: NDArray[np.uint8],
            *,
            score_threshold: float | None = None,
        ) -> Detections:
            if threading.current_thread().name == UPDATE_THREAD:
                self.ids.add(threading.get_native_id())
                self.nice.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
                self.reached.set()
                assert self.go_on.wait(30)
            return real(release, frame, score_threshold=score_threshold)

        monkeypatch.setattr(LoadedRelease, "detect", detect)


def test_refused_candidate_is_an_outcome_and_leaves_the_champion_answering(
    detector: Detector, traffic: Traffic, tmp_path: Path
) -> None:
    key = load_signing_key(next(traffic.workspace.keys.glob("*.key")))
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    build_tiny_detector(good)
    shift_image(good, bad, dx_px=2, dy_px=0)
    bundle = tmp_path / "bundle"
    build_tiny_release(bundle, semver="1.5.0", key=key, frames=8, model=bad)
    outcome = detector.update(bundle)
    assert not outcome.switched
    assert outcome.refusal is not None
    assert (outcome.refusal.gate, outcome.refusal.reason) == ("behaviour", "systematic_offset")
    assert detector.detect(FRAME).release.semver == "1.0.0"
    assert (detector.history()[-1].action, detector.history()[-1].reason) == (
        Action.REFUSED,
        "systematic_offset",
    )


def test_older_release_that_was_never_served_is_a_downgrade(traffic: Traffic) -> None:
    with Detector("plate@1.1.0", workspace=traffic.workspace.root) as detector:
        outcome = detector.update("1.0.0")
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "downgrade"


def test_champion_is_not_replaced_by_itself(detector: Detector) -> None:
    outcome = detector.update("1.0.0")
    assert outcome.refusal is not None
    assert (outcome.refusal.gate, outcome.refusal.reason) == ("switch", "already_champion")
    assert len(detector(FRAME)) > 0


def test_second_update_is_turned_away_and_the_first_goes_on(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier = Barrier(monkeypatch)
    first = detector.start_update("1.1.0")
    assert barrier.reached.wait(30)
    with pytest.raises(UpdateInProgressError):
        detector.update("1.1.0")
    barrier.go_on.set()
    assert first.result(30).switched


def test_candidate_is_tried_at_the_lowest_priority_and_its_callers_keep_theirs(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    barrier = Barrier(monkeypatch)
    barrier.go_on.set()
    detector.update("1.1.0")
    assert barrier.nice == {19}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_pool_of_a_network_with_several_threads_keeps_normal_priority(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Detector("plate@1.0.0", workspace=traffic.workspace.root, threads=2) as detector:
        before = settled_nice_of_threads(but=set())
        barrier = Barrier(monkeypatch)
        barrier.go_on.set()
        assert detector.update("1.1.0").switched
        after = settled_nice_of_threads(but=barrier.ids)
    assert barrier.nice == {19}
    assert set(after) - set(before), "the pool of the new champion has a thread of its own"
    assert 19 not in after.values()


def settled_nice_of_threads(*, but: set[int]) -> dict[int, int]:
    """Levels once the loaders of earlier updates have ended; a pool at theirs never would."""
    deadline_s = CLOCK.monotonic_s() + 10
    while 19 in (levels := nice_of_threads(but=but)).values() and CLOCK.monotonic_s() < deadline_s:
        CLOCK.sleep_s(0.01)
    return levels


def nice_of_threads(*, but: set[int]) -> dict[int, int]:
    found = {}
    for id in {int(name) for name in os.listdir("/proc/self/task")} - but:
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            found[id] = os.getpriority(os.PRIO_PROCESS, id)
    return found


def test_rollback_during_an_update_wins(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, traffic: Traffic
) -> None:
    detector.update("1.1.0")
    detector.rollback()
    barrier = Barrier(monkeypatch)
    update = detector.start_update("1.1.0")
    assert barrier.reached.wait(30)
    detector.rollback()
    detector.rollback()
    barrier.go_on.set()
    outcome = update.result(30)
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "superseded"
    assert detector.release.semver == "1.0.0"


def test_switch_that_cannot_be_written_down_is_not_made(
    traffic: Traffic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "history.db"
    with Detector("plate@1.0.0", workspace=traffic.workspace.root, history=file) as detector:
        events = detector.history()

        def fail(store: HistoryStore, line: str, event: SlotEvent) -> None:
            raise OperationalError("insert", {}, OSError("disk full"))

        with monkeypatch.context() as patch:
            patch.setattr(HistoryStore, "append", fail)
            with pytest.raises(ServingError) as caught:
                detector.update("1.1.0")
        assert caught.value.reason == "history_not_saved"
        assert detector.detect(FRAME).release.semver == "1.0.0"
        assert detector.history() == events
        assert detector.update("1.1.0").switched


def test_rollback_is_made_also_when_it_cannot_be_written_down(
    traffic: Traffic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "history.db"
    with Detector("plate@1.0.0", workspace=traffic.workspace.root, history=file) as detector:
        detector.update("1.1.0")

        def fail(store: HistoryStore, line: str, event: SlotEvent) -> None:
            raise OperationalError("insert", {}, OSError("disk full"))

        monkeypatch.setattr(HistoryStore, "append", fail)
        outcome = detector.rollback()
        assert outcome.switched
        assert outcome.warning is not None
        assert "disk full" in outcome.warning
        assert detector.detect(FRAME).release.semver == "1.0.0"
        monkeypatch.undo()


def test_failure_in_the_update_thread_is_raised_to_who_ordered_it(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("sightloop.serving.embedded_orders.admit", fail)
        with pytest.raises(ZeroDivisionError):
            detector.update("1.1.0")
    assert detector.update("1.1.0").switched


def test_rollback_without_a_previous_says_so(detector: Detector) -> None:
    with pytest.raises(ReleaseNotReadyError):
        detector.rollback()
    with pytest.raises(ReleaseNotFoundError):
        detector.rollback("f" * 64)


def test_unknown_version_is_an_error_of_the_caller(detector: Detector) -> None:
    with pytest.raises(ReleaseNotFoundError):
        detector.update("9.9.9")
    with pytest.raises(ReleaseNotFoundError):
        Detector("no-such-folder")


def test_lost_champion_leaves_the_previous_answering_after_a_restart(tmp_path: Path) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    file, root = tmp_path / "history.db", traffic.workspace.root
    with Detector("plate@1.0.0", workspace=root, history=file) as detector:
        detector.update("1.1.0")
    model = traffic.folder_of(traffic.digests[1]) / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(b"gone bad")
    with Detector("plate@1.0.0", workspace=root, history=file) as again:
        assert again.release.semver == "1.0.0"
        assert again.previous is None
        assert again.history()[-1].reason == "champion_lost"


def test_close_waits_for_the_update(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector("plate@1.0.0", workspace=traffic.workspace.root)
    barrier = Barrier(monkeypatch)
    update = detector.start_update("1.1.0")
    assert barrier.reached.wait(30)
    closing = threading.Thread(target=detector.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    assert not update.done()
    barrier.go_on.set()
    closing.join(30)
    assert update.result(30).switched
    with pytest.raises(ServingError):
        detector(FRAME)
