"""What the front orders a standby worker to do, and what the worker answers. Plain data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sightloop.release.verdict import Verdict, verdict_from_dict
from sightloop.runtime.compute import ON_CPU, Compute, Provider
from sightloop.serving.history import ReleaseId


@dataclass(frozen=True, slots=True)
class Order:
    """Become the worker of one release.

    Attributes:
        line: The model line.
        source: Folder of the bundle.
        store: The workspace's release store.
        trust_folder: Folder of trusted `.pub` keys.
        trust_files: Further trusted keys.
        gated: False for a release that this slot has proven before (restart, recovery): it is
            verified, loaded and warmed, and not judged again.
        champion_digest: Digest of the champion in the store, to be judged against.
        accepted_digests: Digests in the slot's history.
        highest_semver: Highest version the slot has accepted.
        latency_ratio_max: Bound of the latency gate.
        answers: Folder of answers kept for the gates; empty: none are kept.
        memory_max_mib: What it may take until it is READY; 0: no bound.
        compute: What runs the network, and within which bounds.
        batch_wait_ms: How long the worker waits for a batch to fill.
        pixels_max: Largest image this worker decodes.
        image_bytes_max: Largest image file it decodes.
    """

    line: str
    source: str
    store: str
    trust_folder: str
    trust_files: tuple[str, ...] = ()
    gated: bool = True
    champion_digest: str | None = None
    accepted_digests: tuple[str, ...] = ()
    highest_semver: str | None = None
    latency_ratio_max: float = 1.5
    answers: str = ""
    memory_max_mib: int = 0
    compute: Compute = ON_CPU
    batch_wait_ms: float = 0.0
    pixels_max: int = 50_000_000
    image_bytes_max: int = 32 << 20

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), default=str).encode()


def order_from_bytes(data: bytes) -> Order:
    """The inverse of `Order.to_bytes`."""
    value = json.loads(data)
    value["trust_files"] = tuple(value["trust_files"])
    value["accepted_digests"] = tuple(value["accepted_digests"])
    compute = value["compute"]
    cache = compute["engine_cache"]
    compute["engine_cache"] = Path(cache) if cache is not None else None
    compute["provider"] = Provider(compute["provider"])
    value["compute"] = Compute(**compute)
    return Order(**value)


@dataclass(frozen=True, slots=True)
class OrderResult:
    """How an order ended.

    Attributes:
        release: Identity, where the bundle could be read.
        verdicts: Of every gate that ran, in order.
        admitted: Whether the worker now answers with this release.
        batch_max: Most frames that it runs together.
    """

    release: ReleaseId | None
    verdicts: tuple[Verdict, ...]
    admitted: bool
    batch_max: int = 1

    @property
    def refusal(self) -> Verdict | None:
        """The verdict that refused the candidate."""
        if self.admitted:
            return None
        return next((v for v in reversed(self.verdicts) if not v.passed), None)

    def to_bytes(self) -> bytes:
        """As JSON."""
        value = {
            "release": self.release.as_dict() if self.release else None,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "admitted": self.admitted,
            "batch_max": self.batch_max,
        }
        return json.dumps(value).encode()


def result_from_bytes(data: bytes) -> OrderResult:
    """The inverse of `OrderResult.to_bytes`."""
    value = json.loads(data)
    release = value["release"]
    return OrderResult(
        release=ReleaseId(**release) if release else None,
        verdicts=tuple(verdict_from_dict(verdict) for verdict in value["verdicts"]),
        admitted=value["admitted"],
        batch_max=value["batch_max"],
    )
