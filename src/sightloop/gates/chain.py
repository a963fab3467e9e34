"""The gates in a row, cheapest first: from an offered folder to a release that may serve.

Invariant: `admit` hands out a loaded release only if every gate let it through, and it is the very
object that the gates tried; on any other end nothing of the candidate stays in memory. It runs on
the caller's thread, changes nothing a reader sees, and does not switch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sightloop.errors import BackendError, BundleError, ChampionUnusableError, ImageError
from sightloop.gates.behaviour import GATE as BEHAVIOUR
from sightloop.gates.behaviour import (
    RECALL_LOSS_MAX,
    ChampionRules,
    judge_behaviour,
    no_frames,
)
from sightloop.gates.integrity import GATE as INTEGRITY
from sightloop.gates.integrity import (
    AcceptedReleases,
    BundleStore,
    check_integrity,
    judge_release,
)
from sightloop.gates.kept_answers import ReleaseAnswers, key_of, load_answers
from sightloop.gates.latency import (
    PAIRS_MAX,
    RATIO_MAX,
    SYSTEM_STOPWATCH,
    Race,
    Stopwatch,
    judge_latency,
)
from sightloop.gates.measure import measure_behaviour
from sightloop.gates.replay import (
    CalibrationSet,
    Judged,
    Opponent,
    Replay,
    calibration_of,
    replay,
)
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import TrustStore
from sightloop.release.verdict import Outcome, Verdict
from sightloop.runtime.compute import ON_CPU, Compute
from sightloop.runtime.loaded_release import LoadedRelease, load_release, network_of
from sightloop.runtime.memory import give_memory_back
from sightloop.runtime.open_network import engine_missing, open_network

LOAD: Final = "load"
WARM_RUNS: Final = 3
TRIAL_WARM_RUNS: Final = 1
"""On the way to the gates, whose calibration frames warm up further."""

OnState = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What an operator may set.

    Attributes:
        latency_ratio_max: Candidate's CPU time a frame, in champion's.
        latency_pairs_max: Frames timed for both where the first ones do not settle it.
        recall_loss_max: See `ChampionRules`.
        refuse_inconclusive: Whether too little evidence refuses. An ERROR always does.
    """

    latency_ratio_max: float = RATIO_MAX
    latency_pairs_max: int = PAIRS_MAX
    recall_loss_max: float = RECALL_LOSS_MAX
    refuse_inconclusive: bool = True

    def admits(self, verdict: Verdict) -> bool:
        """Whether the candidate may go on to the next gate."""
        doubtful = verdict.outcome is Outcome.INCONCLUSIVE and not self.refuse_inconclusive
        return verdict.passed or doubtful


DEFAULT_POLICY: Final = GatePolicy()


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """What became of a candidate.

    Attributes:
        verdicts: Of the gates that ran, in order; the last one refused if `loaded` is None.
        bundle: The verified copy; None if `integrity` refused.
        loaded: The release that may serve, warm; None if refused.
        answers: What was computed and is worth keeping for the next trial: the admitted
            release's, and the champion's where they were not known.
    """

    verdicts: tuple[Verdict, ...]
    bundle: Bundle | None
    loaded: LoadedRelease | None
    answers: tuple[ReleaseAnswers, ...] = ()


def ignore_state(state: str) -> None:
    """For callers who do not report."""


def admit(
    source: Path,
    *,
    store: BundleStore,
    trust: TrustStore,
    line: str,
    champion_folder: Path | None,
    accepted: AcceptedReleases,
    policy: GatePolicy = DEFAULT_POLICY,
    compute: Compute = ON_CPU,
    answers: Path | None = None,
    on_state: OnState = ignore_state,
    stopwatch: Stopwatch = SYSTEM_STOPWATCH,
    threads: int = 1,
) -> Admission:
    """Take a candidate through integrity, load, behaviour and latency; stop at the first no.

    Args:
        source: The offered folder, or one of the store.
        store: Where it is copied to.
        trust: Whose signature counts.
        line: The slot's model line.
        champion_folder: What holds the slot now, in the store; None for a first release.
        accepted: What the slot has accepted.
        policy: Bounds.
        compute: What runs the networks.
        answers: Folder of kept answers; None: the champion answers all of its frames again.
        on_state: Told VERIFYING, BUILDING (where an engine is missing), LOADING, WARMING and GATING
            as each begins.
        stopwatch: Times of the latency gate.
        threads: That run the networks for the gates, 1 or 2: see `replay`.

    Returns:
        The verdicts and, if none refused, the loaded release. The champion's copy that the gates
        ran is closed.
    """
    on_state("VERIFYING")
    try:
        champion = verify_bundle(champion_folder, trust) if champion_folder else None
    except BundleError as error:
        return Admission((_champion_unusable(INTEGRITY, error),), None, None)
    verdict, bundle = check_integrity(
        store,
        source,
        trust,
        line=line,
        classes=champion.manifest.classes if champion else None,
        accepted=accepted,
    )
    if bundle is None:
        return Admission((verdict,), None, None)
    refused = build_engines((bundle, champion), compute=compute, on_state=on_state)
    if refused is not None:
        return Admission((verdict, refused), bundle, None)
    loading, loaded = load_warm(bundle, compute=compute, runs=TRIAL_WARM_RUNS, on_state=on_state)
    if loaded is None:
        return Admission((verdict, loading), bundle, None)
    on_state("GATING")
    admitted = False
    try:
        trial = _Trial(bundle, loaded, accepted, policy, stopwatch, compute, answers, threads)
        judged, found = _judge(trial, champion)
        admitted = all(map(policy.admits, (loading, *judged)))
    finally:
        if not admitted:
            loaded.close()
    kept = tuple(one for one in found if admitted or one.digest != bundle.digest)
    return Admission((verdict, loading, *judged), bundle, loaded if admitted else None, kept)


def readmit(
    source: Path,
    *,
    trust: TrustStore,
    line: str,
    compute: Compute = ON_CPU,
    on_state: OnState = ignore_state,
) -> Admission:
    """Load a release that the slot has proven before: verified and warmed, not gated again.

    For a restart or a lost worker alone. `source` is a folder of the store.
    """
    on_state("VERIFYING")
    try:
        bundle = verify_bundle(source, trust)
    except BundleError as error:
        failed = Verdict(INTEGRITY, Outcome.FAIL, error.reason, error.message)
        return Admission((failed,), None, None)
    nothing = AcceptedReleases(highest_semver=None, digests=frozenset())
    refusal = judge_release(
        bundle.manifest, bundle.digest, line=line, classes=None, accepted=nothing
    )
    if refusal is not None:
        failed = Verdict(INTEGRITY, Outcome.FAIL, refusal.reason, refusal.message)
        return Admission((failed,), None, None)
    message = f"{line} {bundle.manifest.semver} in the store is as signed by {bundle.signer}"
    passed = Verdict(INTEGRITY, Outcome.PASS, "ok", message)
    refused = build_engines((bundle,), compute=compute, on_state=on_state)
    if refused is not None:
        return Admission((passed, refused), bundle, None)
    loading, loaded = load_warm(bundle, compute=compute, on_state=on_state)
    return Admission((passed, loading), bundle, loaded)


def build_engines(
    bundles: Sequence[Bundle | None], *, compute: Compute, on_state: OnState = ignore_state
) -> Verdict | None:
    """Compile what the provider needs compiled, before the candidate's time counts.

    Args:
        bundles: The candidate, and the champion that it is compared with.
        compute: What runs the networks.
        on_state: Told BUILDING if anything is missing.

    Returns:
        A refusal by the gate `load`; None when every engine is there, or none is needed.
    """
    try:
        networks = [network_of(one.folder, one.manifest, one.digest) for one in bundles if one]
        missing = [network for network in networks if engine_missing(network, compute)]
        if missing:
            on_state("BUILDING")
        for network in missing:
            open_network(network, compute).close()
    except BackendError as error:
        return Verdict(LOAD, Outcome.FAIL, error.reason, error.message)
    return None


def load_warm(
    bundle: Bundle,
    *,
    compute: Compute = ON_CPU,
    runs: int = WARM_RUNS,
    on_state: OnState = ignore_state,
) -> tuple[Verdict, LoadedRelease | None]:
    """The gate `load`: the network loads, keeps its contract, and answers a grey frame.

    Returns:
        The verdict, and the warm release when it is PASS.
    """
    on_state("LOADING")
    try:
        loaded = load_release(bundle.folder, bundle.manifest, bundle.digest, compute=compute)
    except BackendError as error:
        return Verdict(LOAD, Outcome.FAIL, error.reason, error.message), None
    on_state("WARMING")
    side = bundle.manifest.preprocess.side_px
    try:
        loaded.warm_up(runs=runs)
    except BackendError as error:
        loaded.close()
        return Verdict(LOAD, Outcome.FAIL, error.reason, error.message), None
    message = f"loaded; grey frame of {side} x {side} px answered"
    return Verdict(LOAD, Outcome.PASS, "ok", message, {"warm_runs": runs}), loaded


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A candidate and what it is judged by."""

    bundle: Bundle
    loaded: LoadedRelease
    accepted: AcceptedReleases
    policy: GatePolicy
    stopwatch: Stopwatch
    compute: Compute
    answers: Path | None
    threads: int

    @property
    def rules(self) -> ChampionRules:
        comes_back = self.bundle.digest in self.accepted.digests
        return ChampionRules(self.policy.recall_loss_max, binding=not comes_back)


_Found = tuple[ReleaseAnswers, ...]


def _judge(trial: _Trial, champion: Bundle | None) -> tuple[tuple[Verdict, ...], _Found]:
    """Behaviour and, if that lets it through, latency; and the answers that were computed."""
    try:
        calibration = calibration_of(trial.bundle)
    except BundleError as error:
        return (Verdict(BEHAVIOUR, Outcome.FAIL, error.reason, error.message),), ()
    if not calibration:
        return (no_frames(),), ()
    race = Race(
        trial.policy.latency_ratio_max,
        trial.policy.latency_pairs_max,
        judged=trial.stopwatch.judged,
    )
    try:
        opponent = _opponent(champion, trial) if champion else None
        runs = replay(
            trial.loaded,
            calibration,
            opponent,
            race=race,
            stopwatch=trial.stopwatch,
            threads=trial.threads,
        )
    except ChampionUnusableError as error:
        return (_champion_unusable(BEHAVIOUR, error),), ()
    except (BackendError, ImageError) as error:
        return (Verdict(BEHAVIOUR, Outcome.FAIL, error.reason, error.message),), ()
    evidence = measure_behaviour(trial.bundle.manifest, calibration, opponent, runs)
    tolerances = trial.bundle.manifest.calibration.tolerances
    behaviour = judge_behaviour(evidence, tolerances, rules=trial.rules)
    found = _worth_keeping(trial, calibration, champion, runs)
    if not trial.policy.admits(behaviour):
        return (behaviour,), found
    return (behaviour, judge_latency(race, runs.alone, champion_runs=runs.champion_runs)), found


def _opponent(bundle: Bundle, trial: _Trial) -> Opponent:
    """The champion with what is known of it; loaded only when it has to run.

    Raises:
        ChampionUnusableError: Its calibration set cannot be read.
    """

    def load() -> Judged:
        loaded = load_release(bundle.folder, bundle.manifest, bundle.digest, compute=trial.compute)
        return _Guest(loaded)

    try:
        calibration = calibration_of(bundle)
    except BundleError as error:
        raise ChampionUnusableError(error.message, error.reason) from error
    key = key_of(bundle, compute=trial.compute)
    known = load_answers(trial.answers, key) if trial.answers else {}
    return Opponent(bundle.manifest, calibration, known, load)


class _Guest:
    """A release that is loaded for the time of a comparison: its pages go back when it is closed.

    The C library would keep them, and a worker would hold two networks for as long as it serves.
    """

    def __init__(self, loaded: LoadedRelease) -> None:
        self._loaded = loaded
        self.manifest = loaded.manifest
        self.detect = loaded.detect

    def close(self) -> None:
        self._loaded.close()
        give_memory_back()


def _worth_keeping(
    trial: _Trial, calibration: CalibrationSet, champion: Bundle | None, runs: Replay
) -> _Found:
    ours = {frame.key: runs.candidate[frame.key] for frame in calibration}
    bundle = trial.bundle
    found = [ReleaseAnswers(bundle.digest, key_of(bundle, compute=trial.compute), ours)]
    if champion is not None and runs.champion_computed:
        key = key_of(champion, compute=trial.compute)
        found.append(ReleaseAnswers(champion.digest, key, runs.champion))
    return tuple(found)


def _champion_unusable(gate: str, error: BundleError | BackendError) -> Verdict:
    return Verdict(
        gate,
        Outcome.ERROR,
        "champion_unusable",
        f"the champion's release cannot be compared with: {error.message}; add it to the store "
        "again from its bundle, or roll back first",
        {"cause": error.reason},
    )
