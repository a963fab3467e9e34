"""What a repository load names: a bundle, a release of the store, or nothing (the newest).

The stock client has one place for it, the parameter `config`, a JSON text; others may write the
parameters themselves. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sightloop.errors import ProtocolError, UnsupportedError
from sightloop.protocol.requests import read_json

_CONFIG: Final = "config"
_NAMES: Final = ("bundle", "digest", "semver")


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """At most one is set; none asks for the newest release of the store.

    Attributes:
        bundle: Folder of a bundle on the server's machine.
        version: Semver, or 6 and more digits of the digest, of a release in the store.
    """

    bundle: str | None = None
    version: str | None = None


def read_load_order(parameters: Mapping[str, Any]) -> LoadOrder:
    """Read the parameters of a load.

    Raises:
        ProtocolError: Something that names no release (`request_parameter_invalid`).
        UnsupportedError: Files instead of a signed bundle (`unsupported`).
    """
    named: dict[str, str] = {}
    for key, value in parameters.items():
        if key.startswith("file:"):
            raise UnsupportedError(
                "load: files are not taken, since a release is a signed bundle; name one with "
                "the parameter bundle, digest or semver"
            )
        if key == _CONFIG:
            named |= _from_config(value)
        elif key in _NAMES:
            named[key] = _text(key, value)
        else:
            raise _invalid(f"expected {', '.join(_NAMES)} or {_CONFIG}, found {key[:80]!r}")
    if len(named) > 1:
        raise _invalid(f"expected one of {', '.join(_NAMES)}, found {', '.join(sorted(named))}")
    return LoadOrder(named.get("bundle"), named.get("digest") or named.get("semver"))


def _from_config(value: Any) -> dict[str, str]:
    config = read_json(_text(_CONFIG, value).encode(errors="replace"))
    if not isinstance(config, dict):
        raise _invalid("config: expected a JSON object, found another")
    inner = config.get("parameters", {})
    found = dict(config) | (inner if isinstance(inner, dict) else {})
    return {key: _text(key, found[key]) for key in _NAMES if key in found}


def _text(key: str, value: Any) -> str:
    if isinstance(value, dict):  # as a model configuration writes its parameters
        value = value.get("string_value")
    if not isinstance(value, str) or not value or len(value) > 1 << 16:
        raise _invalid(f"{key}: expected a text, found another")
    return value


def _invalid(text: str) -> ProtocolError:
    return ProtocolError(f"load: {text}", "request_parameter_invalid")
