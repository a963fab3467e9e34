from pathlib import Path

import pytest

from sightloop.errors import ConfigError
from sightloop.serving.access import Role, Token, new_secret, token_of
from sightloop.serving.token_file import TokenFile, add_token, read_tokens, revoke_token


class ClockByHand:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds


def token(name: str = "ops") -> Token:
    return token_of(new_secret(), name=name, role=Role.OPERATE, made_at="2026-01-31T12:00:00.000Z")


def test_tokens_are_read_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    one, two = token("one"), token("two")
    add_token(path, one)
    add_token(path, two)
    assert read_tokens(path) == (one, two)


def test_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    add_token(tmp_path / "tokens.json", token())
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_name_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    add_token(path, token())
    with pytest.raises(ConfigError) as caught:
        add_token(path, token())
    assert caught.value.reason == "token_name_taken"
    assert len(read_tokens(path)) == 1


def test_revoked_token_is_gone_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    add_token(path, token("one"))
    add_token(path, token("two"))
    revoke_token(path, "one")
    assert [t.name for t in read_tokens(path)] == ["two"]
    with pytest.raises(ConfigError) as caught:
        revoke_token(path, "one")
    assert caught.value.reason == "token_not_found"


@pytest.mark.parametrize("text", ["", "{}", '[{"name": "a"}]', '[{"name": "a", "role": "root"}]'])
def test_file_that_is_none_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_tokens(tmp_path / "tokens.json")
    assert caught.value.reason == "tokens_unreadable"


def test_change_of_the_file_is_seen_within_a_second_and_not_looked_for_more_often(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "tokens.json", ClockByHand()
    beside = token("environment")
    file = TokenFile(path, clock=clock, beside=(beside,))
    assert file.tokens() == (beside,)
    one = token("one")
    add_token(path, one)
    clock.sleep_s(0.5)
    assert file.tokens() == (beside,)
    clock.sleep_s(0.5)
    assert file.tokens() == (one, beside)
    revoke_token(path, "one")
    clock.sleep_s(1)
    assert file.tokens() == (beside,)


def test_file_that_becomes_unreadable_lets_nobody_in(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens.json", ClockByHand()
    add_token(path, token())
    file = TokenFile(path, clock=clock)
    assert len(file.tokens() or ()) == 1
    path.write_text("spoilt")
    clock.sleep_s(1)
    assert file.tokens() == ()


def test_no_file_is_told_from_a_file_without_a_token(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens.json", ClockByHand()
    file = TokenFile(path, clock=clock)
    assert file.tokens() is None
    add_token(path, token("one"))
    clock.sleep_s(1)
    assert len(file.tokens() or ()) == 1
    revoke_token(path, "one")
    clock.sleep_s(1)
    assert file.tokens() == ()


@pytest.mark.parametrize("name", ["local", "environment"])
def test_name_that_the_audit_log_gives_to_others_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        add_token(tmp_path / "tokens.json", token(name))
    assert caught.value.reason == "token_name_taken"


def test_file_that_is_gone_does_not_open_the_door_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens.json", ClockByHand()
    add_token(path, token())
    file = TokenFile(path, clock=clock)
    path.unlink()
    clock.sleep_s(2)
    assert file.tokens() == ()
