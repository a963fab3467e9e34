"""The gates in a row: order, states, what stays in memory; each gate's rules are tested apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ProviderUnavailableError
from sightloop.gates import chain
from sightloop.gates.chain import Admission, GatePolicy, admit, readmit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.gates.kept_answers import keep_answers
from sightloop.gates.latency import Stopwatch
from sightloop.release.signing import SigningKey, TrustStore, create_key, load_trust
from sightloop.release.verdict import Outcome, Verdict
from sightloop.runtime.compute import Compute
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.runtime.open_network import NetworkFile
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release

STATES = ["VERIFYING", "LOADING", "WARMING", "GATING"]
NOTHING = AcceptedReleases(None, frozenset())


@dataclass
class _Slot:
    folder: Path
    key: SigningKey
    trust: TrustStore
    store: ReleaseStore
    states: list[str]

    def build(self, semver: str, **wanted: object) -> Path:
        path = self.folder / semver
        build_tiny_release(path, semver=semver, key=self.key, frames=4, **wanted)  # type: ignore[arg-type]  # a test's own overrides
        return path

    def offer(
        self,
        source: Path,
        champion: Path | None = None,
        *,
        accepted: AcceptedReleases = NOTHING,
        policy: GatePolicy | None = None,
        answers: Path | None = None,
    ) -> Admission:
        self.states.clear()
        return admit(
            source,
            store=self.store,
            trust=self.trust,
            line="plate",
            champion_folder=champion,
            accepted=accepted,
            policy=policy or GatePolicy(latency_pairs_max=2),
            answers=answers,
            on_state=self.states.append,
            stopwatch=Stopwatch(cpu_ns=lambda: 0, wall_ns=lambda: 0),
        )


@pytest.fixture
def slot(tmp_path: Path) -> _Slot:
    key = create_key(tmp_path / "keys")
    trust = load_trust(tmp_path / "keys")
    return _Slot(tmp_path, key, trust, ReleaseStore(tmp_path / "store"), [])


@pytest.fixture
def open_releases(monkeypatch: pytest.MonkeyPatch) -> list[LoadedRelease]:
    """Every release that was loaded and not closed."""
    opened: list[LoadedRelease] = []
    close = LoadedRelease.close

    def loading(*arguments: object, **named: object) -> LoadedRelease:
        opened.append(load_release(*arguments, **named))  # type: ignore[arg-type]  # passed through
        return opened[-1]

    def closing(release: LoadedRelease) -> None:
        opened.remove(release)
        close(release)

    monkeypatch.setattr(chain, "load_release", loading)
    monkeypatch.setattr(LoadedRelease, "close", closing)
    return opened


def _gates(admission: Admission) -> list[tuple[str, str]]:
    return [(verdict.gate, verdict.outcome.value) for verdict in admission.verdicts]


def test_admitted_release_went_through_all_gates_and_is_alone_in_memory(
    slot: _Slot, open_releases: list[LoadedRelease]
) -> None:
    champion = slot.offer(slot.build("1.0.0"))
    assert champion.bundle is not None
    admission = slot.offer(slot.build("1.1.0", variant=1), champion.bundle.folder)
    assert _gates(admission) == [
        ("integrity", "PASS"),
        ("load", "PASS"),
        ("behaviour", "PASS"),
        ("latency", "PASS"),
    ]
    assert slot.states == STATES
    assert open_releases == [champion.loaded, admission.loaded]


@pytest.mark.parametrize(
    ("wanted", "gate", "states"),
    [
        ({"line": "bottle"}, "integrity", STATES[:1]),
        ({"kind": "dark"}, "behaviour", STATES),
    ],
)
def test_refused_candidate_leaves_nothing_in_memory(
    slot: _Slot,
    open_releases: list[LoadedRelease],
    wanted: dict[str, object],
    gate: str,
    states: list[str],
) -> None:
    champion = slot.offer(slot.build("1.0.0"))
    assert champion.bundle is not None
    admission = slot.offer(slot.build("1.1.0", **wanted), champion.bundle.folder)
    assert admission.loaded is None
    assert admission.verdicts[-1].gate == gate
    assert slot.states == states
    assert open_releases == [champion.loaded]


def _runs(admission: Admission) -> tuple[object, object]:
    figures = admission.verdicts[-1].measurements
    return figures["runs_candidate"], figures["runs_champion"]


def test_champion_whose_answers_are_kept_runs_for_the_times_alone(slot: _Slot) -> None:
    answers = slot.folder / "answers"
    champion = slot.offer(slot.build("1.0.0"), answers=answers)
    assert champion.bundle is not None
    assert [one.digest for one in champion.answers] == [champion.bundle.digest]
    source = slot.build("1.1.0", variant=1)
    unknown = slot.offer(source, champion.bundle.folder, answers=answers)
    assert _runs(unknown) == (4, 5)
    keep_answers(answers, champion.answers[0])
    known = slot.offer(source, champion.bundle.folder, answers=answers)
    assert _runs(known) == (4, 3)
    assert unknown.verdicts[2] == known.verdicts[2]
    assert {one.digest for one in unknown.answers} == {champion.bundle.digest, known.bundle.digest}  # type: ignore[union-attr]  # admitted
    assert [one.digest for one in known.answers] == [known.bundle.digest]  # type: ignore[union-attr]  # admitted


def test_answers_of_a_refused_candidate_are_not_kept(slot: _Slot) -> None:
    champion = slot.offer(slot.build("1.0.0"))
    assert champion.bundle is not None
    refused = slot.offer(slot.build("1.1.0", kind="dark"), champion.bundle.folder)
    assert refused.loaded is None
    assert [one.digest for one in refused.answers] == [champion.bundle.digest]


def test_network_that_does_not_load_is_refused_by_load(slot: _Slot) -> None:
    (slot.folder / "bad.onnx").write_bytes(b"no network")
    admission = slot.offer(slot.build("1.0.0", model=slot.folder / "bad.onnx"))
    assert _gates(admission) == [("integrity", "PASS"), ("load", "FAIL")]
    assert slot.states == STATES[:2]


def test_network_of_another_shape_is_refused_by_load(slot: _Slot) -> None:
    build_tiny_detector(slot.folder / "bad.onnx", side_px=96)
    admission = slot.offer(slot.build("1.0.0", model=slot.folder / "bad.onnx"))
    assert _gates(admission)[-1] == ("load", "FAIL")


def test_damaged_champion_refuses_with_an_error_that_says_so(slot: _Slot) -> None:
    champion = slot.offer(slot.build("1.0.0"))
    assert champion.bundle is not None
    model = champion.bundle.folder / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(b"damaged")
    admission = slot.offer(slot.build("1.1.0"), champion.bundle.folder)
    assert admission.loaded is None
    assert admission.verdicts[-1].outcome is Outcome.ERROR
    assert admission.verdicts[-1].reason == "champion_unusable"


def test_release_of_the_history_is_not_held_to_the_newer_champion(slot: _Slot) -> None:
    old = slot.offer(slot.build("1.0.0", kind="dark"))
    new = slot.offer(slot.build("1.1.0"))
    assert old.bundle is not None
    assert new.bundle is not None
    history = AcceptedReleases("1.1.0", frozenset({old.bundle.digest, new.bundle.digest}))
    assert slot.offer(old.bundle.folder, new.bundle.folder, accepted=history).loaded is not None


@pytest.mark.parametrize(
    ("outcome", "strict", "lenient"),
    [
        ("PASS", True, True),
        ("FAIL", False, False),
        ("ERROR", False, False),
        ("INCONCLUSIVE", False, True),
    ],
)
def test_policy_for_doubt_is_named(outcome: str, *, strict: bool, lenient: bool) -> None:
    verdict = Verdict("behaviour", Outcome(outcome), "reason", "message")
    assert GatePolicy().admits(verdict) is strict
    assert GatePolicy(refuse_inconclusive=False).admits(verdict) is lenient


def test_proven_release_is_loaded_again_without_the_costly_gates(slot: _Slot) -> None:
    proven = slot.offer(slot.build("1.0.0"))
    assert proven.bundle is not None
    again = readmit(
        proven.bundle.folder, trust=slot.trust, line="plate", on_state=slot.states.append
    )
    assert again.loaded is not None
    assert _gates(again) == [("integrity", "PASS"), ("load", "PASS")]


def test_damaged_release_is_not_loaded_again(slot: _Slot) -> None:
    proven = slot.offer(slot.build("1.0.0"))
    assert proven.bundle is not None
    (proven.bundle.folder / "extra").write_bytes(b"")
    again = readmit(proven.bundle.folder, trust=slot.trust, line="plate")
    assert again.loaded is None
    assert again.verdicts[-1].reason == "file_unknown"


def test_release_of_another_line_is_not_loaded_again(slot: _Slot) -> None:
    again = readmit(slot.build("1.0.0"), trust=slot.trust, line="bottle")
    assert again.loaded is None
    assert again.verdicts[-1].reason == "line_differs"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A provider that compiles, with an empty cache: the digests that it compiled."""
    built: list[str] = []

    class _Opened:
        def close(self) -> None:
            pass

    def open_engine(network: NetworkFile, compute: Compute) -> _Opened:
        built.append(network.digest)
        return _Opened()

    monkeypatch.setattr(chain, "engine_missing", lambda network, _: network.digest not in built)
    monkeypatch.setattr(chain, "open_network", open_engine)
    return built


def test_missing_engines_are_built_before_anything_is_loaded(
    slot: _Slot, compiled: list[str]
) -> None:
    first = slot.offer(slot.build("1.0.0"))
    assert slot.states == ["VERIFYING", "BUILDING", *STATES[1:]]
    assert first.bundle is not None
    assert compiled == [first.bundle.digest]
    slot.offer(slot.build("1.1.0"), first.bundle.folder)
    assert len(compiled) == 2


def test_engine_that_is_there_is_not_built(slot: _Slot, compiled: list[str]) -> None:
    source = slot.build("1.0.0")
    slot.offer(source)
    slot.offer(source)
    assert slot.states == STATES
    assert len(compiled) == 1


def test_champions_engine_is_built_too_where_it_is_gone(slot: _Slot, compiled: list[str]) -> None:
    champion = slot.offer(slot.build("1.0.0")).bundle
    assert champion is not None
    compiled.clear()
    candidate = slot.offer(slot.build("1.1.0"), champion.folder).bundle
    assert candidate is not None
    assert compiled == [candidate.digest, champion.digest]


def test_engine_that_cannot_be_built_refuses_the_candidate(
    slot: _Slot, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(network: NetworkFile, compute: Compute) -> None:
        raise ProviderUnavailableError("no", "provider_not_started")

    monkeypatch.setattr(chain, "open_network", fail)
    admission = slot.offer(slot.build("1.0.0"))
    assert admission.loaded is None
    assert (admission.verdicts[-1].gate, admission.verdicts[-1].reason) == (
        "load",
        "provider_not_started",
    )
    assert slot.states == ["VERIFYING", "BUILDING"]


def test_release_that_is_loaded_again_has_its_engine_built_again(
    slot: _Slot, compiled: list[str]
) -> None:
    bundle = slot.offer(slot.build("1.0.0")).bundle
    assert bundle is not None
    compiled.clear()
    states: list[str] = []
    readmit(bundle.folder, trust=slot.trust, line="plate", on_state=states.append)
    assert states == ["VERIFYING", "BUILDING", "LOADING", "WARMING"]
