"""Six candidates that must not reach traffic, each made from a good release, each wrong in one way.

Every one names the gate and the reasons that are meant to stop it: a candidate that is stopped
elsewhere, or not at all, is a failure of the demo. Stopping them is the server's business.
"""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sightloop.release.bundle import Bundle, ManifestDraft, write_bundle
from sightloop.release.calibration import Expected, load_calibration
from sightloop.release.manifest import MODEL_NAME, Manifest
from sightloop.release.signing import SigningKey
from sightloop.runtime.loaded_release import LoadedRelease
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing import bad_models
from sightloop.vision.decode import decode_image

COUNT: Final = 6
SHIFT_PX: Final = 2
SLOWER: Final = 2.3
"""How many times the good release's CPU time a frame of the slow one takes: twice, with room for
the measurement's own noise."""
_HEAVY_MEBIBYTES: Final = 64
_PROBE_LAYERS: Final = 4
_TIMED_RUNS: Final = 24
_SHUFFLE_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class BadCandidate:
    """One candidate and how it is meant to end.

    Attributes:
        name: For people.
        story: What was done to it, in a sentence.
        folder: Its bundle.
        gate: The gate that must stop it.
        reasons: The reasons that gate may give.
        killed: Whether its process is killed while it loads.
    """

    name: str
    story: str
    folder: Path
    gate: str
    reasons: frozenset[str]
    killed: bool = False


def build_candidates(
    folder: Path, good: Bundle, *, key: SigningKey, stranger: SigningKey
) -> tuple[BadCandidate, ...]:
    """Make the six bundles below `folder`, replacing what lies there.

    Args:
        folder: Where to write.
        good: A verified release that passes every gate.
        key: The trusted key: all but one are properly signed.
        stranger: A key that nobody trusts.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    maker = _Maker(folder, good, key, iter(_next_versions(good.manifest.semver, COUNT)))
    return (*_not_as_signed(maker, stranger), *_not_fit(maker), _killed(maker))


@dataclass(frozen=True, slots=True)
class _Maker:
    """Wraps models as if they were the good release, each under a version of its own."""

    folder: Path
    good: Bundle
    key: SigningKey
    versions: Iterator[str]

    def wrapped(self, name: str, *, model: Path, signer: SigningKey) -> Path:
        """The bundle of a model."""
        semver = next(self.versions)
        return rewrap(self.folder / name, self.good, model=model, semver=semver, key=signer).folder

    def changed(self, name: str, change: Callable[[Path, Path], None]) -> Path:
        """The properly signed bundle of what `change` makes of the good model."""
        model = self.folder / f"{name}.onnx"
        change(self.good.model, model)
        bundle = self.wrapped(name, model=model, signer=self.key)
        model.unlink()
        return bundle


def _not_as_signed(maker: _Maker, stranger: SigningKey) -> tuple[BadCandidate, ...]:
    flipped = maker.wrapped("flipped-byte", model=maker.good.model, signer=maker.key)
    _flip_byte(flipped / MODEL_NAME)
    return (
        BadCandidate(
            "flipped byte",
            "one byte of the signed weights was changed on the way",
            flipped,
            gate="integrity",
            reasons=frozenset({"digest_mismatch"}),
        ),
        BadCandidate(
            "stranger's signature",
            "the good weights, signed with a key that this server does not trust",
            maker.wrapped("stranger", model=maker.good.model, signer=stranger),
            gate="integrity",
            reasons=frozenset({"signer_untrusted"}),
        ),
    )


def _not_fit(maker: _Maker) -> tuple[BadCandidate, ...]:
    layers = _layers_for(maker.good, SLOWER, maker.folder / "probe.onnx")
    return (
        BadCandidate(
            "wrong answers",
            "properly signed and loadable, but the weights of its convolutions are shuffled",
            maker.changed("wrong-answers", _shuffle),
            gate="behaviour",
            reasons=frozenset(
                {"expected_detections_missed", "unexpected_detections", "labels_missed"}
            ),
        ),
        BadCandidate(
            f"image shifted by {SHIFT_PX} px",
            f"its graph moves the image by {SHIFT_PX} px to the right before the network sees it",
            maker.changed("shifted", _shift),
            gate="behaviour",
            reasons=frozenset({"systematic_offset"}),
        ),
        BadCandidate(
            "twice too slow",
            f"{layers + 1} extra convolutions that change no answer",
            maker.changed("slow", lambda src, dst: bad_models.slow_down(src, dst, layers=layers)),
            gate="latency",
            reasons=frozenset({"too_slow"}),
        ),
    )


def _killed(maker: _Maker) -> BadCandidate:
    return BadCandidate(
        "killed while it loads",
        f"a good release with {_HEAVY_MEBIBYTES} MiB of ballast, whose process is killed",
        maker.changed("killed", _weigh_down),
        gate="load",
        reasons=frozenset({"candidate_died"}),
        killed=True,
    )


def rewrap(folder: Path, good: Bundle, *, model: Path, semver: str, key: SigningKey) -> Bundle:
    """Sign another model as if it were the good release: its manifest, its calibration set."""
    calibration = load_calibration(good)
    return write_bundle(
        folder,
        model=model,
        draft=_draft_of(good.manifest, semver),
        frames=[(expected.frame, data) for data, expected in calibration],
        expected=Expected(tuple(expected for _, expected in calibration)),
        key=key,
    )


def _draft_of(manifest: Manifest, semver: str) -> ManifestDraft:
    return ManifestDraft(
        line=manifest.line,
        semver=semver,
        created=manifest.created,
        classes=manifest.classes,
        input=manifest.input,
        preprocess=manifest.preprocess,
        output=manifest.output,
        weights=manifest.weights,
        thresholds=manifest.thresholds,
        tolerances=manifest.calibration.tolerances,
        latency=manifest.latency,
        lineage=manifest.lineage,
        metrics=manifest.metrics,
    )


def _next_versions(semver: str, count: int) -> list[str]:
    major, minor, _ = (int(part) for part in semver.split("."))
    return [f"{major}.{minor + 1}.{patch}" for patch in range(count)]


def _flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


def _shuffle(src: Path, dst: Path) -> None:
    bad_models.wrong_answers(src, dst, seed=_SHUFFLE_SEED)


def _shift(src: Path, dst: Path) -> None:
    bad_models.shift_image(src, dst, dx_px=SHIFT_PX, dy_px=0)


def _weigh_down(src: Path, dst: Path) -> None:
    bad_models.heavy(src, dst, mebibytes=_HEAVY_MEBIBYTES)


def _layers_for(good: Bundle, ratio: float, probe: Path) -> int:
    """How many extra layers make a frame take `ratio` times the CPU time, measured here."""
    frame_data = load_calibration(good)[0][0]
    alone_ms = _cpu_ms(good.model, good, frame_data)
    bad_models.slow_down(good.model, probe, layers=_PROBE_LAYERS)
    slowed_ms = _cpu_ms(probe, good, frame_data)
    probe.unlink()
    layer_ms = max((slowed_ms - alone_ms) / (_PROBE_LAYERS + 1), 1e-3)
    return max(1, math.ceil((ratio - 1) * alone_ms / layer_ms) - 1)


def _cpu_ms(model: Path, good: Bundle, image: bytes) -> float:
    """Median CPU time of one frame on this thread."""
    release = LoadedRelease(open_onnx(model), good.manifest, good.digest)
    frame = decode_image(image)
    times_ms = []
    try:
        for _ in range(_TIMED_RUNS):
            began_ns = time.thread_time_ns()
            release.detect(frame)
            times_ms.append((time.thread_time_ns() - began_ns) / 1e6)
    finally:
        release.close()
    return statistics.median(times_ms[_TIMED_RUNS // 4 :])
