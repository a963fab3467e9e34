"""Keys and signatures."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sightloop.errors import ConfigError, SignatureInvalidError
from sightloop.release.signing import (
    TrustStore,
    check_signature,
    create_key,
    ensure_key,
    load_public_key,
    load_signing_key,
    load_trust,
    sign,
)


def test_private_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    create_key(tmp_path / "keys")
    assert stat.S_IMODE((tmp_path / "keys" / "default.key").stat().st_mode) == 0o600


def test_private_key_is_in_no_repr(tmp_path: Path) -> None:
    key = create_key(tmp_path)
    assert key.public.raw.hex() not in repr(key)
    assert "rivate" not in repr(key)


def test_existing_key_is_never_replaced(tmp_path: Path) -> None:
    before = create_key(tmp_path).key_id
    with pytest.raises(ConfigError) as caught:
        create_key(tmp_path)
    assert caught.value.reason == "key_exists"
    assert load_signing_key(tmp_path / "default.key").key_id == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default.key", "default.pub"]


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "a b", "x" * 65])
def test_key_name_that_is_no_plain_word_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_key(tmp_path, name)
    assert caught.value.reason == "key_name_invalid"


def test_keys_survive_the_disk(tmp_path: Path) -> None:
    key = create_key(tmp_path, "maker")
    assert load_signing_key(tmp_path / "maker.key").public == key.public
    assert load_public_key(tmp_path / "maker.pub") == key.public


def test_ensured_key_is_made_once(tmp_path: Path) -> None:
    first, made = ensure_key(tmp_path)
    second, made_again = ensure_key(tmp_path)
    assert (made, made_again) == (True, False)
    assert first.public == second.public


def test_public_half_lost_in_a_crash_is_written_again(tmp_path: Path) -> None:
    key, _ = ensure_key(tmp_path)
    (tmp_path / "default.pub").unlink()
    ensure_key(tmp_path)
    assert load_public_key(tmp_path / "default.pub") == key.public


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 40])
def test_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    for load in (load_signing_key, load_public_key):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert caught.value.reason == "key_invalid"


def test_private_key_is_no_public_key(tmp_path: Path) -> None:
    create_key(tmp_path)
    with pytest.raises(ConfigError):
        load_public_key(tmp_path / "default.key")


def test_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keygen") as caught:
        load_signing_key(tmp_path / "none.key")
    assert caught.value.reason == "key_missing"


def test_trust_is_the_folder_and_the_named_files(tmp_path: Path) -> None:
    own, friend = create_key(tmp_path / "keys"), create_key(tmp_path / "friend")
    trust = load_trust(tmp_path / "keys", [tmp_path / "friend" / "default.pub"])
    assert {key.key_id for key in trust.keys} == {own.key_id, friend.key_id}


def test_absent_folder_trusts_nobody(tmp_path: Path) -> None:
    assert load_trust(tmp_path / "none").keys == ()


def test_signature_counts_for_its_bytes_and_trusted_key_alone(tmp_path: Path) -> None:
    key, other = create_key(tmp_path / "a"), create_key(tmp_path / "b")
    trust = TrustStore((key.public,))
    assert check_signature(sign(key, b"data"), b"data", trust) == key.key_id
    with pytest.raises(SignatureInvalidError) as caught:
        check_signature(sign(key, b"data"), b"date", trust)
    assert caught.value.reason == "signature_invalid"
    with pytest.raises(SignatureInvalidError) as caught:
        check_signature(sign(other, b"data"), b"data", trust)
    assert caught.value.reason == "signer_untrusted"
