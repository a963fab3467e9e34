"""What is run, how often and in which order; the sums are tested in test_evidence.py."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.errors import BackendError, ChampionUnusableError, ImageError, ModelContractError
from sightloop.gates.latency import PAIRS_MAX, PAIRS_MIN, SYSTEM_STOPWATCH, Race, Stopwatch
from sightloop.gates.replay import (
    Answers,
    CalibrationFrame,
    CalibrationSet,
    Judged,
    Opponent,
    Replay,
    answer_threshold,
    calibration_of,
    replay,
)
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.manifest import Manifest
from sightloop.release.signing import create_key, load_trust
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import encode_png
from sightloop.vision.detections import Detections

FRAMES = 12


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """A release, and another of the same calibration frames."""
    folder = tmp_path_factory.mktemp("release")
    key = create_key(folder / "keys")
    trust = load_trust(folder / "keys")
    for name, variant in (("a", 0), ("b", 1)):
        build_tiny_release(folder / name, semver="1.0.0", key=key, frames=FRAMES, variant=variant)
    return verify_bundle(folder / "a", trust), verify_bundle(folder / "b", trust)


class _Clock(threading.local):
    """Each run takes what its detector says; the stopwatch reads the thread's sum."""

    now_ns = 0

    @property
    def stopwatch(self) -> Stopwatch:
        return Stopwatch(cpu_ns=lambda: self.now_ns, wall_ns=lambda: self.now_ns)


class _Counted:
    """A release that writes its runs down and takes `cost_ns` for each."""

    def __init__(
        self, bundle: Bundle, name: str, log: list[str], clock: _Clock, *, cost_ns: int = 100
    ) -> None:
        self.release = load_release(bundle.folder, bundle.manifest, bundle.digest)
        self.manifest: Manifest = bundle.manifest
        self._name, self._log, self._clock, self._cost_ns = name, log, clock, cost_ns
        self.fails = False

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        self._log.append(self._name)
        self._clock.now_ns += self._cost_ns
        if self.fails:
            raise BackendError("network: it failed", "inference_failed")
        return self.release.detect(frame, score_threshold=score_threshold)

    def close(self) -> None:
        self._log.append("close")


class _Trial:
    """Candidate and champion on a clock of their own."""

    def __init__(
        self, candidate: Bundle, champion: Bundle, *, ours_ns: int = 100, its_ns: int = 100
    ) -> None:
        self.log: list[str] = []
        self.clock = _Clock()
        self.candidate = _Counted(candidate, "a", self.log, self.clock, cost_ns=ours_ns)
        self.champion = _Counted(champion, "b", self.log, self.clock, cost_ns=its_ns)
        self.ours: CalibrationSet = calibration_of(candidate)
        self.its: CalibrationSet = calibration_of(champion)

    def run(self, known: Answers, *, threads: int = 1) -> Replay:
        opponent = Opponent(self.champion.manifest, self.its, known, self._open)
        return replay(
            self.candidate,
            self.ours,
            opponent,
            race=Race(),
            stopwatch=self.clock.stopwatch,
            threads=threads,
        )

    def _open(self) -> Judged:
        self.log.append("open")
        return self.champion


def _truth(release: LoadedRelease, frames: Sequence[CalibrationFrame]) -> dict[str, Detections]:
    """What it answers, computed apart."""
    from sightloop.vision.decode import decode_image

    threshold = answer_threshold(release.manifest)
    return {
        frame.key: release.detect(decode_image(frame.image), score_threshold=threshold)
        for frame in frames
    }


def _equal(found: Answers, expected: Answers) -> bool:
    return set(found) == set(expected) and all(
        np.array_equal(found[key].boxes, expected[key].boxes)
        and np.array_equal(found[key].scores, expected[key].scores)
        for key in expected
    )


def test_unknown_champion_answers_each_of_its_frames_once_in_turns(
    bundles: tuple[Bundle, Bundle],
) -> None:
    trial = _Trial(*bundles)
    found = trial.run({})
    assert (found.candidate_runs, found.champion_runs) == (FRAMES, FRAMES + 1)
    turns = "".join(trial.log).replace("open", "").replace("close", "")
    assert turns == "b" + "abba" * (FRAMES // 2)
    assert found.champion_computed
    assert _equal(found.champion, _truth(trial.champion.release, trial.its))
    assert _equal(found.candidate, _truth(trial.candidate.release, trial.ours))


def test_known_champion_runs_only_for_the_times_and_is_closed_then(
    bundles: tuple[Bundle, Bundle],
) -> None:
    trial = _Trial(*bundles)
    known = _truth(trial.champion.release, trial.its)
    found = trial.run(known)
    assert (found.candidate_runs, found.champion_runs) == (FRAMES, PAIRS_MIN + 1)
    assert trial.log[-(FRAMES - PAIRS_MIN) - 1 :] == ["close"] + ["a"] * (FRAMES - PAIRS_MIN)
    assert _equal(found.champion, known)
    assert not found.champion_computed


def test_kept_answer_that_differs_by_one_bit_throws_all_of_them_away(
    bundles: tuple[Bundle, Bundle],
) -> None:
    trial = _Trial(*bundles)
    truth = _truth(trial.champion.release, trial.its)
    known = {
        key: replace(found, scores=np.nextafter(found.scores, np.float32(0)))
        for key, found in truth.items()
    }
    found = trial.run(known)
    assert found.champion_runs == FRAMES + 1
    assert found.champion_computed
    assert _equal(found.champion, truth)


def test_champion_that_is_partly_known_runs_on_the_rest(bundles: tuple[Bundle, Bundle]) -> None:
    trial = _Trial(*bundles)
    truth = _truth(trial.champion.release, trial.its)
    found = trial.run(dict(list(truth.items())[:3]))
    assert _equal(found.champion, truth)


def test_frames_of_both_sets_are_run_once(bundles: tuple[Bundle, Bundle]) -> None:
    trial = _Trial(*bundles)
    trial.ours, trial.its = trial.ours[:8], trial.its[4:]
    found = trial.run(_truth(trial.champion.release, trial.its))
    assert found.candidate_runs == FRAMES
    assert set(found.candidate) == {frame.key for frame in (*trial.ours, *trial.its)}
    assert set(found.champion) == {frame.key for frame in trial.its}


def test_too_few_frames_are_run_again_until_the_times_suffice(
    bundles: tuple[Bundle, Bundle],
) -> None:
    trial = _Trial(*bundles)
    trial.ours = trial.its = trial.ours[:2]
    found = trial.run({})
    assert len(found.race.ratios) == PAIRS_MIN


def test_times_that_disagree_are_taken_on_more_frames(bundles: tuple[Bundle, Bundle]) -> None:
    trial = _Trial(*bundles, ours_ns=160, its_ns=100)
    costs = iter([140] + [160] * 100)
    detect = trial.candidate.detect

    def uneven(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        trial.candidate._cost_ns = next(costs)
        return detect(frame, score_threshold=score_threshold)

    trial.candidate.detect = uneven  # type: ignore[method-assign]  # a test's own cost
    found = trial.run(_truth(trial.champion.release, trial.its))
    assert len(found.race.ratios) == PAIRS_MAX


def test_champion_that_fails_is_no_fault_of_the_candidate(bundles: tuple[Bundle, Bundle]) -> None:
    trial = _Trial(*bundles)
    trial.champion.fails = True
    with pytest.raises(ChampionUnusableError):
        trial.run({})
    assert trial.log[-1] == "close"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("after", [0, 1, 3, 8])
def test_candidate_that_fails_ends_the_trial_and_leaves_no_champion_open(
    bundles: tuple[Bundle, Bundle], threads: int, after: int
) -> None:
    trial = _Trial(*bundles)
    detect = trial.candidate.detect
    left = iter(range(after))

    def fails(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        if next(left, None) is None:
            raise BackendError("network: it failed", "inference_failed")
        return detect(frame, score_threshold=score_threshold)

    trial.candidate.detect = fails  # type: ignore[method-assign]
    with pytest.raises(BackendError):
        trial.run({}, threads=threads)
    assert trial.log.count("open") == trial.log.count("close")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gates")]


def _alone(bundle: Bundle, calibration: CalibrationSet) -> Replay:
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    return replay(release, calibration, None, race=Race(), stopwatch=SYSTEM_STOPWATCH)


def test_first_release_runs_alone(bundles: tuple[Bundle, Bundle]) -> None:
    found = _alone(bundles[0], calibration_of(bundles[0]))
    assert (found.candidate_runs, found.champion_runs) == (FRAMES, 0)
    assert found.colours is None


def test_frame_of_another_size_than_expected_is_refused(bundles: tuple[Bundle, Bundle]) -> None:
    frame = calibration_of(bundles[0])[0]
    small = replace(frame, image=encode_png(np.zeros((10, 10, 3), np.uint8)))
    with pytest.raises(ModelContractError) as caught:
        _alone(bundles[0], [small])
    assert caught.value.reason == "frame_size_differs"


def test_frame_that_does_not_decode_is_refused(bundles: tuple[Bundle, Bundle]) -> None:
    frame = replace(calibration_of(bundles[0])[0], image=b"no image")
    with pytest.raises(ImageError):
        _alone(bundles[0], [frame])


def _labelled(bundles: tuple[Bundle, Bundle]) -> _Trial:
    """A candidate that knows labels alone: its colours are tried as well."""
    trial = _Trial(*bundles)
    manifest = trial.candidate.manifest
    calibration = manifest.calibration.model_copy(update={"expected_from": "labels"})
    trial.candidate.manifest = manifest.model_copy(update={"calibration": calibration})
    return trial


@pytest.mark.parametrize("kept", [True, False])
def test_two_threads_find_what_one_finds(bundles: tuple[Bundle, Bundle], kept: bool) -> None:
    one_thread = _labelled(bundles)
    known = _truth(one_thread.champion.release, one_thread.its) if kept else {}
    one = one_thread.run(known)
    assert one.colours is not None
    assert one.colours.frames > 0
    for _ in range(5):
        two = _labelled(bundles).run(known, threads=2)
        assert _equal(two.candidate, one.candidate)
        assert _equal(two.champion, one.champion)
        assert two.colours == one.colours
        assert len(two.race.ratios) >= PAIRS_MIN


def test_two_threads_run_candidate_and_champion_at_the_same_time(
    bundles: tuple[Bundle, Bundle],
) -> None:
    trial = _Trial(*bundles)
    candidate_runs = threading.Event()
    met: list[bool] = []
    champion, candidate = trial.champion.detect, trial.candidate.detect

    def waits(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        met.append(candidate_runs.wait(timeout=10))
        return champion(frame, score_threshold=score_threshold)

    def runs(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        candidate_runs.set()
        return candidate(frame, score_threshold=score_threshold)

    trial.champion.detect = waits  # type: ignore[method-assign]  # the first run waits
    trial.candidate.detect = runs  # type: ignore[method-assign]  # for this one
    trial.run({}, threads=2)
    assert met
    assert all(met)  # one thread alone begins with the champion and would wait in vain


@pytest.mark.parametrize("wrong", range(8))
def test_kept_answer_that_turns_out_wrong_late_is_computed_again_like_all_others(
    bundles: tuple[Bundle, Bundle], wrong: int
) -> None:
    trial = _Trial(*bundles)
    trial.ours, trial.its = trial.ours[:8], trial.its[:8]
    truth = _truth(trial.champion.release, trial.its)
    key = trial.its[wrong].key
    score = np.nextafter(truth[key].scores, np.float32(0))
    known = truth | {key: replace(truth[key], scores=score)}
    candidate, champion = trial.candidate.detect, trial.champion.detect
    answered: list[int] = []
    all_answered = threading.Event()

    def counted(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        found = candidate(frame, score_threshold=score_threshold)
        answered.append(1)
        if len(answered) == len(trial.ours) - 1:  # but the one that waits for the champion
            all_answered.set()
        return found

    def late(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        assert all_answered.wait(timeout=10)  # the pairs come when no frame is left
        return champion(frame, score_threshold=score_threshold)

    trial.candidate.detect = counted  # type: ignore[method-assign]
    trial.champion.detect = late  # type: ignore[method-assign]
    found = trial.run(known, threads=2)
    # Two frames are in no pair: nobody can know what is wrong with them.
    assert _equal(found.champion, truth if found.champion_computed else known)


def test_trial_without_room_for_a_second_thread_goes_on_with_one(
    bundles: tuple[Bundle, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    trial = _Trial(*bundles)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    found = trial.run({}, threads=2)
    assert (found.candidate_runs, found.champion_runs) == (FRAMES, FRAMES + 1)


def test_second_thread_has_the_priority_of_the_first(bundles: tuple[Bundle, Bundle]) -> None:
    trial = _Trial(*bundles)
    detect = trial.candidate.detect
    nice: dict[int, int] = {}
    both = threading.Barrier(2)

    def noted(frame: NDArray[np.uint8], *, score_threshold: float | None = None) -> Detections:
        id = threading.get_native_id()
        if id not in nice:
            nice[id] = os.getpriority(os.PRIO_PROCESS, id)
            both.wait(timeout=10)  # neither thread does all of the work
        return detect(frame, score_threshold=score_threshold)

    def load() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        trial.run({}, threads=2)

    trial.candidate.detect = noted  # type: ignore[method-assign]
    loader = threading.Thread(target=load)
    loader.start()
    loader.join()
    assert list(nice.values()) == [19, 19]


def test_failing_champion_stops_both_threads(bundles: tuple[Bundle, Bundle]) -> None:
    trial = _Trial(*bundles)
    trial.champion.fails = True
    with pytest.raises(ChampionUnusableError):
        trial.run({}, threads=2)
    assert trial.log.count("open") == trial.log.count("close") == 1
