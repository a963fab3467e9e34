"""The OpenSSF signature: other tools believe it, and a changed release breaks it."""

from __future__ import annotations

import builtins
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sightloop.distribution.openssf_signature import check_openssf_installed, sign_for_openssf
from sightloop.errors import ConfigError, MissingExtraError
from sightloop.release.signing import create_key
from sightloop.testing.tiny_detectors import build_tiny_release

needs_openssf = pytest.mark.skipif(
    any(importlib.util.find_spec(part) is None for part in ("model_signing", "OpenSSL")),
    reason="model-signing is not installed (extra `openssf`)",
)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    key = create_key(tmp_path / "keys")
    build_tiny_release(tmp_path / "bundle", semver="1.0.0", key=key, frames=1)
    return tmp_path / "bundle"


@needs_openssf
def test_signature_holds_for_a_copy_and_breaks_with_any_file(bundle: Path, tmp_path: Path) -> None:
    from model_signing import verifying

    private = ec.generate_private_key(ec.SECP256R1())
    public = tmp_path / "maker.pub"
    public.write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    signature = tmp_path / "release.openssf.json"
    sign_for_openssf(bundle, signature, key=_write_key(tmp_path / "maker.pem", private))
    copy = tmp_path / "elsewhere"
    shutil.copytree(bundle, copy)
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=public)
    verifier.verify(copy, signature)
    (copy / "MODEL_CARD.md").write_bytes(b"changed")
    with pytest.raises(ValueError, match="MODEL_CARD"):
        verifier.verify(copy, signature)


@needs_openssf
@pytest.mark.parametrize("kind", ["none", "other curve", "no key"])
def test_unusable_key_is_named_and_nothing_is_written(
    bundle: Path, tmp_path: Path, kind: str
) -> None:
    key = tmp_path / "key.pem"
    if kind == "other curve":
        _write_key(key, ed25519.Ed25519PrivateKey.generate())
    elif kind == "no key":
        key.write_bytes(b"no key")
    with pytest.raises(ConfigError) as caught:
        sign_for_openssf(bundle, tmp_path / "signature", key=key)
    assert caught.value.reason == "openssf_key_invalid"
    assert not (tmp_path / "signature").exists()


@pytest.mark.parametrize("absent", ["model_signing", "OpenSSL"])
def test_absent_signer_names_the_extra(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    def find(name: str, *_: Any) -> object:
        return None if name == absent else builtins

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(MissingExtraError, match=r"sightloop\[openssf\]"):
        check_openssf_installed()
