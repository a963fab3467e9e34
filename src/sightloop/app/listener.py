"""Where a server listens, and what that demands: TLS and tokens where other machines can reach it.

What an address demands is known before it is bound: what fails it has listened to nobody. The
socket is bound before anything else starts, so that a port in use fails next.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from sightloop.config.serving import ServingConfig
from sightloop.errors import ConfigError, PortInUseError
from sightloop.serving.doorkeeper import DoorRules


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate and its key, found to fit each other."""

    certificate: Path
    key: Path

    def as_pair(self) -> tuple[bytes, bytes]:
        """Key and certificate chain, PEM, as gRPC takes them."""
        return self.key.read_bytes(), self.certificate.read_bytes()


def resolved(config: ServingConfig) -> ServingConfig:
    """The settings with an address in place of a host's name, so that what is judged is bound.

    Raises:
        ConfigError: Nobody knows the name.
    """
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(config.host)
        return config
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        found = socket.getaddrinfo(config.host or None, 0, socket.AF_INET, kind, flags=flags)
    except OSError as error:
        raise _address_invalid(config, error) from error
    return config.model_copy(update={"host": str(found[0][4][0])})


def listen(config: ServingConfig) -> socket.socket:
    """Bind the address of a server.

    Raises:
        PortInUseError: Somebody listens there.
        ConfigError: It is none of this machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {config.port} on {config.host}: expected it free, found another process "
                "listening; stop that one or choose another with --port (0 takes a free one)"
            ) from error
        raise _address_invalid(config, error) from error
    listener.listen(1024)
    return listener


def _address_invalid(config: ServingConfig, error: OSError) -> ConfigError:
    return ConfigError(
        f"address {config.host}:{config.port}: expected one of this machine, found: "
        f"{error.strerror}; choose another with --host and --port",
        "address_invalid",
    )


def tls_files(config: ServingConfig) -> TlsFiles | None:
    """The certificate to encrypt with; None: nothing is encrypted.

    Raises:
        ConfigError: One of the two files is missing, or they do not fit each other.
    """
    if not config.tls_cert and not config.tls_key:
        return None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config.tls_cert, config.tls_key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
        raise ConfigError(
            f"TLS certificate {config.tls_cert or '(none)'} with key {config.tls_key or '(none)'}: "
            f"expected two PEM files that fit each other, found: {error}; set serve.tls_cert and "
            "serve.tls_key",
            "tls_invalid",
        ) from error
    return TlsFiles(Path(config.tls_cert), Path(config.tls_key))


def _no_password() -> str:
    """A server cannot type one: without this it would wait at a terminal for ever."""
    raise ValueError("the key asks for a password; give one without")


def door_rules(
    config: ServingConfig, address: str, *, encrypted: bool, has_tokens: bool
) -> DoorRules:
    """What an address demands; pure.

    Args:
        config: The server's.
        address: What will be bound.
        encrypted: Whether TLS is on.
        has_tokens: Whether there is any token.

    Raises:
        ConfigError: Other machines can reach it, and there is no token or no TLS.
    """
    reachable = not ipaddress.ip_address(address.partition("%")[0]).is_loopback
    if reachable and not has_tokens:
        raise ConfigError(
            f"address {address}: expected a token for the admin plane, since other machines can "
            "reach it, found none; make one with `sightloop token create NAME --role operate`, or "
            "set SIGHTLOOP_SERVE_TOKEN",
            "token_required",
        )
    if reachable and not encrypted and not config.insecure:
        raise ConfigError(
            f"address {address}: expected TLS, since tokens and images would pass readable, found "
            "none; set --tls-cert and --tls-key, or say --insecure where something in front "
            "encrypts",
            "tls_required",
        )
    return DoorRules(
        admin_asks=reachable, data_asks=config.data_token, metrics_open=config.metrics_open
    )


def bundle_folders(
    config: ServingConfig, rules: DoorRules, workspace: Path
) -> tuple[Path, ...] | None:
    """Below which folders an order may name a bundle; None: anywhere."""
    if config.bundle_folders:
        return tuple(Path(folder).resolve() for folder in config.bundle_folders)
    return (workspace.resolve(),) if rules.admin_asks else None
