"""The states of a release on a server: one enum, one transition table.

Invariant: only READY, ACTIVE, RETAINED and DRAINING releases hold a loaded network, and a reader
can only reach ACTIVE (and, while the champion's worker is dead, RETAINED). Pure.
"""

from __future__ import annotations

from enum import StrEnum

from sightloop.errors import TransitionError


class ReleaseState(StrEnum):
    """Where a release stands on one server."""

    ORDERED = "ORDERED"
    """Handed to a standby worker."""
    VERIFYING = "VERIFYING"
    """Being copied into the store and checked: digest, signature, downgrade, contract."""
    BUILDING = "BUILDING"
    """Its engine is being compiled for this device; the champion serves, and no clock of the
    candidate runs but `serve.build_timeout_s`."""
    LOADING = "LOADING"
    """Its network is being loaded."""
    WARMING = "WARMING"
    """First runs."""
    GATING = "GATING"
    """Calibration frames and latency."""
    READY = "READY"
    """Passed every gate; may be switched to."""
    ACTIVE = "ACTIVE"
    """Champion: answers the traffic."""
    RETAINED = "RETAINED"
    """Previous: loaded, for instant rollback."""
    DRAINING = "DRAINING"
    """Replaced for good; waits for its last lease."""
    UNLOADED = "UNLOADED"
    """Its worker has ended as told."""
    FAILED = "FAILED"
    """Refused by a gate, or its worker died."""


_S = ReleaseState
TRANSITIONS: dict[ReleaseState, frozenset[ReleaseState]] = {
    _S.ORDERED: frozenset({_S.VERIFYING, _S.FAILED}),
    _S.VERIFYING: frozenset({_S.BUILDING, _S.LOADING, _S.FAILED}),
    _S.BUILDING: frozenset({_S.LOADING, _S.FAILED}),
    _S.LOADING: frozenset({_S.WARMING, _S.FAILED}),
    _S.WARMING: frozenset({_S.GATING, _S.READY, _S.FAILED}),
    _S.GATING: frozenset({_S.READY, _S.FAILED}),
    _S.READY: frozenset({_S.ACTIVE, _S.RETAINED, _S.DRAINING, _S.FAILED}),
    _S.ACTIVE: frozenset({_S.RETAINED, _S.DRAINING, _S.FAILED}),
    _S.RETAINED: frozenset({_S.ACTIVE, _S.DRAINING, _S.FAILED}),
    _S.DRAINING: frozenset({_S.UNLOADED, _S.FAILED}),
    _S.UNLOADED: frozenset(),
    _S.FAILED: frozenset(),
}
"""What may follow what. READY to RETAINED: a restart loads the previous again."""


def advance(current: ReleaseState, to: ReleaseState) -> ReleaseState:
    """Give `to` if the table allows it after `current`.

    Raises:
        TransitionError: It does not.
    """
    if to not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(TRANSITIONS[current])) or "nothing"
        raise TransitionError(f"release state {current}: expected next {allowed}, found {to}")
    return to
