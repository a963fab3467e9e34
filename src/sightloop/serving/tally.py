"""What a line's releases have answered: counts and times since the server started, by release.

Counted where the answer comes back, at the cost of some additions; metrics are made of it only when
somebody looks. One writer; a reader on another thread may see one answer's parts apart.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from sightloop.serving.history import ReleaseId
from sightloop.serving.wire import StageTimes

RELEASES_MAX = 32


@dataclass(slots=True)
class ReleaseCounts:
    """Sums over one release's answers; seconds.

    Attributes:
        release: Which.
        answers: How many it gave.
        runs: Runs of its network for them; each answer counts its part of one.
        failures: Requests that it was to answer and that got none, or an error.
        failed_s: Time of these.
        last_answer_wall_s: When it answered last, seconds since the epoch.
        total_s: From a request's entry to its answer.
        queue_s: From its entry to its way to a worker.
    """

    release: ReleaseId
    answers: int = 0
    runs: float = 0.0
    failures: int = 0
    failed_s: float = 0.0
    last_answer_wall_s: float = 0.0
    total_s: float = 0.0
    queue_s: float = 0.0
    decode_s: float = 0.0
    preprocess_s: float = 0.0
    inference_s: float = 0.0
    postprocess_s: float = 0.0

    def stages(self) -> dict[str, float]:
        """Seconds by stage."""
        return {
            "queue": self.queue_s,
            "decode": self.decode_s,
            "preprocess": self.preprocess_s,
            "inference": self.inference_s,
            "postprocess": self.postprocess_s,
        }


@dataclass(slots=True)
class Tally:
    """The counts of one line; releases not heard of for longest are forgotten."""

    counts: OrderedDict[str, ReleaseCounts] = field(default_factory=OrderedDict)

    def of(self, release: ReleaseId) -> ReleaseCounts:
        """The counts of a release, new ones if it has none."""
        found = self.counts.get(release.digest)
        if found is None:
            found = self.counts[release.digest] = ReleaseCounts(release)
            while len(self.counts) > RELEASES_MAX:
                self.counts.popitem(last=False)
        return found

    def answered(
        self,
        release: ReleaseId,
        times: StageTimes,
        *,
        queue_s: float,
        total_s: float,
        wall_s: float,
    ) -> None:
        """Count one answer, given at `wall_s`."""
        counts = self.of(release)
        counts.answers += 1
        counts.runs += 1 / max(1, times.frames)
        counts.last_answer_wall_s = wall_s
        counts.total_s += total_s
        counts.queue_s += queue_s
        counts.decode_s += times.decode_us / 1e6
        counts.preprocess_s += times.preprocess_us / 1e6
        counts.inference_s += times.inference_us / 1e6
        counts.postprocess_s += times.postprocess_us / 1e6

    def failed(self, release: ReleaseId, *, total_s: float) -> None:
        """Count one request that got no answer, or an error."""
        counts = self.of(release)
        counts.failures += 1
        counts.failed_s += total_s
