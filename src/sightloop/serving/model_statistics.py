"""Triton's statistics of inference requests, by line and release. One thread; no I/O.

Only releases that are loaded are kept: counts of one that is gone go with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sightloop.serving.wire import StageTimes


@dataclass(slots=True)
class _Duration:
    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns

    def as_dict(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class _Counts:
    last_inference_ms: int = 0
    success: _Duration = field(default_factory=_Duration)
    fail: _Duration = field(default_factory=_Duration)
    queue: _Duration = field(default_factory=_Duration)
    compute_input: _Duration = field(default_factory=_Duration)
    compute_infer: _Duration = field(default_factory=_Duration)
    compute_output: _Duration = field(default_factory=_Duration)


_NONE = _Duration()


class ModelStatistics:
    """Counts of the requests of each release."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], _Counts] = {}

    def count_success(
        self, line: str, digest: str, *, total_ns: int, times: StageTimes, wall_s: float
    ) -> None:
        """Count one answer: decoding counts as input, what the parts leave over as queue."""
        counts = self._of(line, digest)
        counts.last_inference_ms = int(wall_s * 1000)
        counts.success.add(total_ns)
        counts.queue.add(max(0, total_ns - times.total_us * 1000))
        counts.compute_input.add((times.decode_us + times.preprocess_us) * 1000)
        counts.compute_infer.add(times.inference_us * 1000)
        counts.compute_output.add(times.postprocess_us * 1000)

    def count_failure(self, line: str, digest: str, *, total_ns: int) -> None:
        """Count one request that got no answer."""
        self._of(line, digest).fail.add(total_ns)

    def keep(self, line: str, digests: Collection[str]) -> None:
        """Forget the line's releases that are not among these."""
        gone = [key for key in self._counts if key[0] == line and key[1] not in digests]
        for key in gone:
            del self._counts[key]

    def as_dict(self, line: str, semver: str, digest: str) -> dict[str, Any]:
        """One entry of `model_stats`."""
        counts = self._counts.get((line, digest), _Counts())
        count = counts.success.count
        stages = {
            "compute_input": counts.compute_input.as_dict(),
            "compute_infer": counts.compute_infer.as_dict(),
            "compute_output": counts.compute_output.as_dict(),
        }
        return {
            "name": line,
            "version": semver,
            "last_inference": counts.last_inference_ms,
            "inference_count": count,
            "execution_count": count,
            "inference_stats": {
                "success": counts.success.as_dict(),
                "fail": counts.fail.as_dict(),
                "queue": counts.queue.as_dict(),
                **stages,
                "cache_hit": _NONE.as_dict(),
                "cache_miss": _NONE.as_dict(),
            },
            "response_stats": {},
            "batch_stats": [{"batch_size": 1, **stages}] if count else [],
            "memory_usage": [],
        }

    def _of(self, line: str, digest: str) -> _Counts:
        return self._counts.setdefault((line, digest), _Counts())
