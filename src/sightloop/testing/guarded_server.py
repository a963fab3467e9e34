"""A real server on every address of the machine, with TLS and tokens, and hand-made calls to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightloop.client.http_client import Client
from sightloop.serving.access import Role, new_secret, token_of
from sightloop.serving.token_file import add_token
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

HEAD_BYTES_MAX: Final = 4096
SLOW_S: Final = 1.0
"""How long heads and bodies may take."""
_SETTINGS: Final = {
    "SIGHTLOOP_SERVE_HOST": "0.0.0.0",
    "SIGHTLOOP_SERVE_DATA_TOKEN": "true",
    "SIGHTLOOP_SERVE_HEAD_BYTES_MAX": str(HEAD_BYTES_MAX),
    "SIGHTLOOP_SERVE_HEAD_TIMEOUT_S": str(SLOW_S),
    "SIGHTLOOP_SERVE_BODY_TIMEOUT_S": str(SLOW_S),
    "SIGHTLOOP_SERVE_BODY_BYTES_MAX": str(1 << 20),
}


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: an authority, and a certificate of it for 127.0.0.1 and localhost."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Guarded:
    """The server, and who may call it: `camera`, `looker` and `operator`."""

    traffic: Traffic
    server: ServerProcess
    certificates: Certificates
    secrets: dict[str, str]

    @property
    def port(self) -> int:
        """Of HTTPS."""
        return int(self.server.url.rpartition(":")[2])

    @property
    def url(self) -> str:
        """By the address that the certificate is for."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def image(self) -> bytes:
        """A frame."""
        return next(self.traffic.images.glob("*.jpg")).read_bytes()

    def bearer(self, name: str) -> str:
        """What the header `Authorization` holds."""
        return f"Bearer {self.secrets[name]}"

    def client(self, name: str | None) -> Client:
        """Our own client with the token of this name."""
        token = self.secrets[name] if name is not None else None
        return Client(self.url, token=token, ca_file=self.certificates.authority)

    def tls(self) -> ssl.SSLContext:
        """Trusts the test's authority."""
        return ssl.create_default_context(cafile=str(self.certificates.authority))

    def raw(self) -> ssl.SSLSocket:
        """A connection that sends what one likes."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.tls().wrap_socket(plain, server_hostname="127.0.0.1")

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, bearer: str | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body and headers of a call; `bearer` is the header `Authorization`."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.tls(), timeout=20
        )
        with contextlib.closing(connection):
            headers = {"Authorization": bearer} if bearer is not None else {}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        value = json.loads(text) if text[:1] == b"{" else {"text": text.decode()}
        return answer.status, value, {k.lower(): v for k, v in answer.getheaders()}

    def champion(self) -> str:
        """Semver of who serves."""
        with self.client("looker") as client:
            return str(client.status("plate")["champion"]["release"]["semver"])


def make_token(traffic: Traffic, name: str, role: Role) -> str:
    """A token of the server's workspace; gives the secret."""
    secret = new_secret()
    add_token(traffic.workspace.tokens, token_of(secret, name=name, role=role, made_at="now"))
    return secret


@contextlib.contextmanager
def serve_guarded(folder: Path, certificates: Certificates) -> Iterator[Guarded]:
    """Start it, with everything in `folder`."""
    traffic = tiny_traffic(folder, images=3)
    roles = {"camera": Role.DETECT, "looker": Role.READ, "operator": Role.OPERATE}
    secrets = {name: make_token(traffic, name, role) for name, role in roles.items()}
    environment = {
        **_SETTINGS,
        "SIGHTLOOP_SERVE_TLS_CERT": str(certificates.certificate),
        "SIGHTLOOP_SERVE_TLS_KEY": str(certificates.key),
    }
    releases = [traffic.folder_of(traffic.digests[0])]
    with ServerProcess(
        traffic.workspace.root, log=folder / "log", releases=releases, environment=environment
    ) as server:
        yield Guarded(traffic, server, certificates, secrets)
