"""What happened when: the acts of the demo and its orders, on the camera's clock. Values only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sightloop._support.clock import Clock
from sightloop.testing.checker import Switch


class Screen(Protocol):
    """Shows a person what is going on."""

    def act(self, text: str) -> None:
        """The next act begins."""

    def note(self, text: str) -> None:
        """Something within the act."""

    def progress(self, done: int, total: int) -> None:
        """So many of so many parts of the act are done."""


@dataclass(frozen=True, slots=True)
class Act:
    """One part of the demo. CLOCK_MONOTONIC seconds.

    Attributes:
        name: For people.
        kind: `training`, `update`, `refusals`, `updates`, `rollback` or `other`.
    """

    name: str
    kind: str
    began_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a bad candidate ended.

    Attributes:
        candidate: Its name.
        story: What was done to it.
        gate: The gate that refused it; `none` if it was let through.
        reason: That gate's reason.
        message: The gate's words to the operator.
        measurements: Figures behind it.
        expected_gate: The gate that was meant to.
        expected_reasons: The reasons it may give.
        champion_kept: Whether the same release answered before and after.
        order_s: When it was ordered.
        seconds: From the order to the refusal.
    """

    candidate: str
    story: str
    gate: str
    reason: str
    message: str
    measurements: Mapping[str, object]
    expected_gate: str
    expected_reasons: frozenset[str]
    champion_kept: bool
    order_s: float
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether it was refused where and why it was meant to, and nothing else changed."""
        stopped = self.gate == self.expected_gate and self.reason in self.expected_reasons
        return stopped and self.champion_kept


@dataclass(slots=True)
class Timeline:
    """Grows while the demo runs.

    Attributes:
        clock: Where the time comes from.
        screen: Shows a person what is going on.
        acts: Ended acts, in order.
        switches: Every acknowledged change of the champion, in order.
        updates: Those of the 20 measured updates.
        rollbacks: Those of the rollbacks.
        refusals: How the bad candidates ended.
    """

    clock: Clock
    screen: Screen
    acts: list[Act] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    updates: list[Switch] = field(default_factory=list)
    rollbacks: list[Switch] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @contextlib.contextmanager
    def act(self, name: str, kind: str = "other") -> Iterator[None]:
        """Announce an act and note when it ran; one that fails is not noted."""
        self.screen.act(name)
        began_s = self.clock.monotonic_s()
        yield
        self.acts.append(Act(name, kind, began_s, self.clock.monotonic_s()))
