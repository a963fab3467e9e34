"""The OpenSSF signature of a release, for tools that are not ours: an export and never an import.

Whether a release may run is decided by manifest.sig alone; this signature stands beside the
release, covers every file of its folder, and is checked by whoever asked for it.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Final

from sightloop._support.files import write_bytes_atomic
from sightloop.errors import ConfigError, MissingExtraError

SUFFIX: Final = ".openssf.json"
_PARTS: Final = ("model_signing", "OpenSSL")  # the first needs the second and does not say so


def check_openssf_installed() -> None:
    """Say what to install where the signer is absent; imports nothing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if any(importlib.util.find_spec(part) is None for part in _PARTS):
        raise MissingExtraError(
            "an OpenSSF signature needs model-signing and pyOpenSSL, which are not installed; "
            "install them with `pip install 'sightloop[openssf]'`"
        )


def sign_for_openssf(folder: Path, signature: Path, *, key: Path) -> None:
    """Write the OpenSSF model signature over a bundle's folder; `signature` is whole or absent.

    Args:
        folder: A bundle, verified by the caller.
        signature: The file to write, a Sigstore bundle in JSON.
        key: Private key on the curve P-256, P-384 or P-521, PEM without a password.

    Raises:
        MissingExtraError: The signer is not installed.
        ConfigError: openssf_key_invalid: `key` is no such key.
    """
    check_openssf_installed()
    # Here, not above: importing it takes a second.
    from model_signing import signing

    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        # AttributeError: what the library says of a key that lies on no curve.
        raise ConfigError(
            f"{key}: expected a private key on the curve P-256, P-384 or P-521 as PEM without a "
            f"password, found: {error}; make one with `openssl ecparam -name prime256v1 -genkey "
            "-noout -out maker.pem`",
            "openssf_key_invalid",
        ) from error
    with tempfile.TemporaryDirectory(prefix="sightloop-") as temporary:
        made = Path(temporary) / "signature"
        signer.sign(folder, made)
        write_bytes_atomic(signature, made.read_bytes())
