import itertools

import pytest

from sightloop.errors import ConfigError, ForbiddenError, UnauthenticatedError
from sightloop.serving.access import (
    SECRET_CHARACTERS_MIN,
    Role,
    authorise,
    new_secret,
    refuse_query,
    token_of,
)

SECRETS = {role: new_secret() for role in Role}
TOKENS = tuple(token_of(s, name=r.value, role=r, made_at="now") for r, s in SECRETS.items())


def enter(header: str | None, needed: Role) -> str:
    return authorise(header, needed, tokens=TOKENS, address="10.0.0.7").name


@pytest.mark.parametrize(("held", "needed"), list(itertools.product(Role, Role)))
def test_role_covers_those_before_it_and_no_other(held: Role, needed: Role) -> None:
    order = [Role.DETECT, Role.READ, Role.OPERATE]
    header = f"Bearer {SECRETS[held]}"
    if order.index(held) >= order.index(needed):
        assert enter(header, needed) == held.value
    else:
        with pytest.raises(ForbiddenError) as caught:
            enter(header, needed)
        assert caught.value.reason == "role_too_low"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "token_missing"),
        ("", "token_missing"),
        ("Bearer", "token_malformed"),
        ("Token abc", "token_malformed"),
        (SECRETS[Role.OPERATE], "token_malformed"),
        (f"Bearer {SECRETS[Role.OPERATE]}x", "token_unknown"),
        (f"Bearer {SECRETS[Role.OPERATE][:-1]}", "token_unknown"),
        (f"Bearer {TOKENS[0].digest}", "token_unknown"),
        ("Bearer \u00e9\u00e8", "token_unknown"),
    ],
    ids=lambda _: "",  # secrets are drawn anew in each process
)
def test_whoever_has_no_known_token_stays_outside(header: str | None, reason: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        enter(header, Role.DETECT)
    assert caught.value.reason == reason


def test_without_any_token_nobody_is_let_in() -> None:
    with pytest.raises(UnauthenticatedError):
        authorise("Bearer " + "a" * 47, Role.DETECT, tokens=(), address="here")


def test_secrets_are_random_and_long_enough_to_need_no_slow_hash() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(new_secret()) == 47 > SECRET_CHARACTERS_MIN


def test_stored_token_does_not_hold_its_secret_and_same_secrets_differ_by_salt() -> None:
    secret = new_secret()
    one, two = (token_of(secret, name="a", role=Role.READ, made_at="now") for _ in range(2))
    assert one.digest != two.digest
    assert secret not in repr(one)
    assert one.fits(secret)
    assert two.fits(secret)


@pytest.mark.parametrize("name", ["", "A", "a b", "../etc", "a" * 65, "a\n", "é"])
def test_name_that_cannot_name_a_token_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        token_of(new_secret(), name=name, role=Role.READ, made_at="now")
    assert caught.value.reason == "token_name_invalid"


@pytest.mark.parametrize("name", ["token", "TOKEN", "access_token", "api_key", "Authorization"])
def test_secret_in_an_address_is_refused_whatever_its_name(name: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        refuse_query(["line", name])
    assert caught.value.reason == "token_in_query"
    refuse_query(["line", "stream", "timeout_ms"])
