"""Ed25519 keys and the signature over a manifest's bytes.

Invariant: a signature counts only if it verifies under a key of the `TrustStore`; the key id in
the signature file merely says which key to try. Private keys are written once, mode 0600, and
appear in no repr. Which bytes are signed is `bundle.py`'s business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sightloop._support.files import (
    TEMPORARY_PREFIX,
    alone_in,
    naming_full_disk,
    sync_folder,
    write_bytes_atomic,
)
from sightloop.errors import ConfigError, SignatureInvalidError

DEFAULT_KEY: Final = "default"
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEY_ID_DIGITS = 16
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that proves signatures.

    Attributes:
        key_id: First 16 hex digits of the SHA-256 of the 32 raw key bytes.
        raw: The 32 key bytes.
    """

    key_id: str
    raw: bytes = field(repr=False)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` over `data` was made with this key's private half."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs. The private half appears in no repr."""

    public: PublicKey
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def key_id(self) -> str:
        """Id of the public half."""
        return self.public.key_id


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The keys whose releases may run here."""

    keys: tuple[PublicKey, ...]

    def find(self, key_id: str) -> PublicKey | None:
        """The trusted key of this id, if any."""
        return next((key for key in self.keys if key.key_id == key_id), None)


def _public_key(raw: bytes) -> PublicKey:
    return PublicKey(key_id=hashlib.sha256(raw).hexdigest()[:_KEY_ID_DIGITS], raw=raw)


def _signing_key(private: Ed25519PrivateKey) -> SigningKey:
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(public=_public_key(raw), private=private)


def _write_once(path: Path, data: bytes) -> None:
    """Write `path` whole, mode 0600; never over an existing file."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(name, path)
    finally:
        os.unlink(name)
    sync_folder(path.parent)


def create_key(folder: Path, name: str = DEFAULT_KEY) -> SigningKey:
    """Make `folder/NAME.key` (private, 0600) and `folder/NAME.pub`, both PEM.

    Raises:
        ConfigError: `name` cannot be a file name (key_name_invalid), or the key exists already
            (key_exists); an existing key is never replaced.
    """
    if _KEY_NAME.fullmatch(name) is None:
        raise ConfigError(
            f"key name: expected 1 to 64 of A-Z, a-z, 0-9, '_' and '-', found {name!r}",
            "key_name_invalid",
        )
    private = Ed25519PrivateKey.generate()
    path = folder / f"{name}.key"
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with naming_full_disk(path), alone_in(folder):
        try:
            _write_once(path, pem)
        except FileExistsError as error:
            raise ConfigError(
                f"{path}: a key of this name exists and is never replaced; choose another --name",
                "key_exists",
            ) from error
        _write_public(folder / f"{name}.pub", private)
    return _signing_key(private)


def _write_public(path: Path, private: Ed25519PrivateKey) -> None:
    spki = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_bytes_atomic(path, spki)


def ensure_key(folder: Path, name: str = DEFAULT_KEY) -> tuple[SigningKey, bool]:
    """Give the key of this name, made if absent, and whether it was made now.

    Safe against a second process doing the same: one key wins. A public half lost in a crash
    is written again.
    """
    path = folder / f"{name}.key"
    if not path.exists():
        try:
            return create_key(folder, name), True
        except ConfigError as error:
            if error.reason != "key_exists":
                raise
    key = load_signing_key(path)
    if not (folder / f"{name}.pub").exists():
        with naming_full_disk(folder), alone_in(folder):
            _write_public(folder / f"{name}.pub", key.private)
    return key, False


def _read_key_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"key {path}: expected a readable PEM file, found: {error.strerror}; "
            "make one with `sightloop release keygen` or name another file",
            "key_missing",
        ) from error


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key as `create_key` wrote it.

    Raises:
        ConfigError: No such file (key_missing) or no Ed25519 private key (key_invalid).
    """
    data = _read_key_file(path)
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(
            f"key {path}: expected an unencrypted Ed25519 private key in PEM, found something "
            "else; make one with `sightloop release keygen`",
            "key_invalid",
        )
    return _signing_key(private)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key as `create_key` wrote it.

    Raises:
        ConfigError: No such file (key_missing) or no Ed25519 public key (key_invalid).
    """
    data = _read_key_file(path)
    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise ConfigError(
            f"key {path}: expected an Ed25519 public key in PEM (a .pub file of "
            "`sightloop release keygen`), found something else",
            "key_invalid",
        )
    return _public_key(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


def load_trust(folder: Path, extra: Sequence[Path] = ()) -> TrustStore:
    """Trust every `*.pub` of `folder` (may be absent) and the files of `extra`.

    Raises:
        ConfigError: A named file, or a .pub in the folder, is no public key.
    """
    paths = sorted(folder.glob("*.pub")) if folder.is_dir() else []
    by_id = {key.key_id: key for key in map(load_public_key, [*paths, *extra])}
    return TrustStore(keys=tuple(by_id.values()))


def sign(key: SigningKey, data: bytes) -> bytes:
    """The bytes of manifest.sig for `data`."""
    value = {
        "key_id": key.key_id,
        "signature": base64.b64encode(key.private.sign(data)).decode("ascii"),
    }
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def check_signature(signature_file: bytes, data: bytes, trust: TrustStore) -> str:
    """Give the key id of the trusted signer of `data`.

    Raises:
        SignatureInvalidError: Not a signature file (signature_malformed), a key that is not
            trusted (signer_untrusted), or a signature of other bytes (signature_invalid).
    """
    key_id, signature = _parse_signature(signature_file)
    key = trust.find(key_id)
    if key is None:
        known = ", ".join(trusted.key_id for trusted in trust.keys) or "none"
        raise SignatureInvalidError(
            f"the release is signed by key {key_id}; trusted here: {known}; if you trust its "
            "maker, get their .pub file from them and name it with --trust",
            "signer_untrusted",
        )
    if not key.verifies(signature, data):
        raise SignatureInvalidError(
            f"manifest.sig names the trusted key {key_id}, but its signature is not one of this "
            "manifest.json: one of the two was changed; get the release again from its maker",
            "signature_invalid",
        )
    return key_id


def _parse_signature(signature_file: bytes) -> tuple[str, bytes]:
    try:
        value = json.loads(signature_file)
        if not isinstance(value, dict) or set(value) != {"key_id", "signature"}:
            raise ValueError("other keys")
        key_id = value["key_id"]
        signature = base64.b64decode(value["signature"], validate=True)
        if not isinstance(key_id, str) or re.fullmatch(r"[0-9a-f]{16}", key_id) is None:
            raise ValueError("key id")
        if len(signature) != _SIGNATURE_BYTES:
            raise ValueError("length")
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise SignatureInvalidError(
            'manifest.sig: expected {"key_id": 16 hex digits, "signature": 64 bytes in base64}, '
            "found something else; get the release again from its maker",
            "signature_malformed",
        ) from error
    return key_id, signature
