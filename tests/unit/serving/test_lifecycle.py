import itertools

import pytest

from sightloop.errors import TransitionError
from sightloop.serving.lifecycle import TRANSITIONS, ReleaseState, advance

LOADED = {ReleaseState.READY, ReleaseState.ACTIVE, ReleaseState.RETAINED, ReleaseState.DRAINING}


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(ReleaseState)


@pytest.mark.parametrize(("current", "to"), list(itertools.product(ReleaseState, ReleaseState)))
def test_only_transitions_of_the_table_are_allowed(current: ReleaseState, to: ReleaseState) -> None:
    if to in TRANSITIONS[current]:
        assert advance(current, to) is to
    else:
        with pytest.raises(TransitionError, match=f"{current}.*{to}"):
            advance(current, to)


def test_active_is_reached_from_ready_or_retained_alone() -> None:
    sources = {
        state for state, following in TRANSITIONS.items() if ReleaseState.ACTIVE in following
    }
    assert sources == {ReleaseState.READY, ReleaseState.RETAINED}


def test_ready_is_reached_through_the_gates_or_a_warm_reload_alone() -> None:
    sources = {state for state, following in TRANSITIONS.items() if ReleaseState.READY in following}
    assert sources == {ReleaseState.GATING, ReleaseState.WARMING}


def test_every_state_that_is_not_an_end_may_fail() -> None:
    ends = {state for state, following in TRANSITIONS.items() if not following}
    assert ends == {ReleaseState.UNLOADED, ReleaseState.FAILED}
    assert all(ReleaseState.FAILED in TRANSITIONS[state] for state in set(ReleaseState) - ends)


def test_engine_is_built_after_verifying_and_before_anything_is_loaded() -> None:
    before = {
        state for state, following in TRANSITIONS.items() if ReleaseState.BUILDING in following
    }
    assert before == {ReleaseState.VERIFYING}
    assert TRANSITIONS[ReleaseState.BUILDING] == {ReleaseState.LOADING, ReleaseState.FAILED}


def test_a_loaded_release_never_goes_back_to_loading() -> None:
    assert all(
        TRANSITIONS[state] <= LOADED | {ReleaseState.UNLOADED, ReleaseState.FAILED}
        for state in LOADED
    )
