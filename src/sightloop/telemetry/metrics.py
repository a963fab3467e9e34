"""Prometheus metrics of a server: stable names, units in the name, bounded labels.

Only the front process holds them. One `ServingMetrics` a server, with its own registry, so that
two servers in one test process do not share counts.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.samples import Sample

_MS = (1, 2, 3, 5, 7.5, 10, 12.5, 15, 20, 25, 30, 100 / 3, 40, 50, 75, 100, 200, 500, 1000, 5000)
_SECONDS = tuple(round(edge / 1000, 4) for edge in _MS)
"""One edge lies on the time of a frame at 30 frames/s."""
_FRAMES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_UPDATE_SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class ServingMetrics:
    """Counts of one server."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated there
        self.registry = CollectorRegistry()
        self._add_requests()
        self._add_releases()

    def _add_requests(self) -> None:
        self.requests = self._counter(
            "sightloop_requests",
            "Requests to the data plane by how they ended: ok or an error's reason.",
            ["line", "outcome"],
        )
        self.latency = self._histogram(
            "sightloop_request_seconds",
            "From the request's last byte read to the answer handed to the socket.",
            ["line"],
            _SECONDS,
        )
        self.queue_wait = self._histogram(
            "sightloop_queue_wait_seconds",
            "From a request's entry to its way to a worker.",
            ["line"],
            _SECONDS,
        )
        self.batch_frames = self._histogram(
            "sightloop_batch_frames",
            "Requests that one run of the network answered, for each answer.",
            ["line"],
            _FRAMES,
        )
        self.pending = self._gauge(
            "sightloop_requests_pending", "Requests that wait for a worker's answer.", ["line"]
        )
        self.request_errors = self._counter(
            "sightloop_request_errors",
            "Requests without detections, by reason.",
            ["line", "reason"],
        )
        self.refused = self._counter(
            "sightloop_refused",
            "Calls refused at the door, by plane and reason.",
            ["plane", "reason"],
        )

    def _add_releases(self) -> None:
        self.release = self._gauge(
            "sightloop_release_info",
            "1 for the release that holds a role on this server.",
            ["line", "role", "semver", "digest"],
        )
        self.updates = self._counter(
            "sightloop_updates",
            "Updates, rollbacks and recoveries by outcome.",
            ["line", "action", "outcome"],
        )
        self.update_seconds = self._histogram(
            "sightloop_update_seconds",
            "From the order to its end, by action.",
            ["line", "action"],
            _UPDATE_SECONDS,
        )
        self.update_state_seconds = self._histogram(
            "sightloop_update_state_seconds",
            "How long a candidate stayed in a state.",
            ["line", "state"],
            _UPDATE_SECONDS,
        )
        self.verdicts = self._counter(
            "sightloop_gate_verdicts",
            "Verdicts of the gates.",
            ["line", "gate", "outcome", "reason"],
        )
        self.worker_deaths = self._counter(
            "sightloop_worker_deaths",
            "Worker processes that ended without being told to, by the role they had.",
            ["line", "role"],
        )
        self.worker_restarts = self._counter(
            "sightloop_worker_restarts",
            "Workers that took a dead one's place, by role.",
            ["line", "role"],
        )
        self.degraded = self._gauge(
            "sightloop_line_degraded", "1 while a line is not answered by its champion.", ["line"]
        )

    def _counter(self, name: str, meaning: str, labels: list[str]) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: list[str]) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, labels: list[str], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)

    def set_roles(self, line: str, roles: dict[str, tuple[str, str]]) -> None:
        """State which release (semver, digest) holds each role of `line`; others go."""
        for labels in [s.labels for s in self._release_samples() if s.labels["line"] == line]:
            self.release.remove(labels["line"], labels["role"], labels["semver"], labels["digest"])
        for role, (semver, digest) in roles.items():
            self.release.labels(line, role, semver, digest[:12]).set(1)

    def _release_samples(self) -> list[Sample]:
        return [sample for metric in self.release.collect() for sample in metric.samples]

    def as_text(self) -> bytes:
        """The exposition that `/metrics` answers."""
        return generate_latest(self.registry)
