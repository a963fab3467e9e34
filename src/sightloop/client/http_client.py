"""A client of a Sightloop server over HTTP; standard library only, one connection a client.

Not for use by several threads at once: give each its own.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from sightloop.errors import ConfigError, ServerRefusedError, ServerUnreachableError

DEFAULT_URL = "http://127.0.0.1:8080"
Json = dict[str, Any]


class Client:
    """Asks one server.

    Args:
        url: `http://HOST:PORT` or `https://HOST:PORT`.
        token: Sent with every call; None: none.
        ca_file: PEM file of the authority that signed the server's certificate; None: the
            system's authorities.
        timeout_s: For each answer; an update gets `update_timeout_s`.
        update_timeout_s: How long an update may take, an engine's compiling included; the server
            has limits of its own.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
        update_timeout_s: float = 2400.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ConfigError(
                f"url: expected http://HOST:PORT or https://HOST:PORT, found {url!r}", "url_invalid"
            )
        self.url = url.rstrip("/")
        encrypted = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if encrypted else 80)
        self._tls = _tls_context(ca_file) if encrypted else None
        self._own_headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s
        self._update_timeout_s = update_timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def detect(self, image: bytes, *, line: str | None = None) -> Json:
        """Detections of one JPEG or PNG image, with the release that found them.

        Raises:
            ServerUnreachableError, ServerRefusedError.
        """
        path = "/v1/detect" + (f"?line={quote(line)}" if line else "")
        return self._call("POST", path, body=image)

    def lines(self) -> list[str]:
        """Names of the server's lines."""
        names: list[str] = self._call("GET", "/v1/lines")["lines"]
        return names

    def status(self, line: str) -> Json:
        """Champion, previous, candidate and standby of a line."""
        return self._call("GET", f"/v1/lines/{quote(line)}")

    def history(self, line: str) -> list[Json]:
        """Every switch and refusal of a line, oldest first."""
        events: list[Json] = self._call("GET", f"/v1/lines/{quote(line)}/history")["events"]
        return events

    def audit(self, *, last: int = 100) -> Json:
        """The newest orders with who gave them, and whether the whole log holds."""
        return self._call("GET", f"/v1/audit?last={last}")

    def update(self, line: str, *, bundle: Path | None = None, digest: str | None = None) -> Json:
        """Order an update and wait for its end.

        Returns:
            The outcome. A refusal is an outcome too: `state` is FAILED and `refused` its verdict.

        Raises:
            ServerUnreachableError: No answer.
            ServerRefusedError: The order could not be carried out (not found, one running).
        """
        body = {"bundle": str(bundle.resolve()) if bundle else None, "digest": digest}
        return self._order(f"/v1/lines/{quote(line)}/updates", body)

    def rollback(self, line: str, *, digest: str | None = None) -> Json:
        """Order a rollback and wait for its end; as `update`."""
        return self._order(f"/v1/lines/{quote(line)}/rollback", {"digest": digest})

    def ready(self) -> bool:
        """Whether every line of the server answers."""
        try:
            self._call("GET", "/readyz")
        except (ServerUnreachableError, ServerRefusedError):
            return False
        return True

    def metrics(self) -> str:
        """The Prometheus exposition."""
        status, data = self._request("GET", "/metrics", None, "", self._timeout_s)
        if status != 200:
            raise ServerRefusedError(f"{self.url}/metrics: status {status}", None, status)
        return data.decode()

    def _order(self, path: str, value: Json) -> Json:
        body = json.dumps(value).encode()
        self.close()  # an order goes out on a new connection: it is never sent twice
        status, data = self._request("POST", path, body, "application/json", self._update_timeout_s)
        answer = _decode(data)
        if status == 200 or (status == 409 and "verdicts" in answer):
            return answer
        raise self._refusal(path, status, answer)

    def _call(self, method: str, path: str, *, body: bytes | None = None) -> Json:
        kind = "application/octet-stream"
        status, data = self._request(method, path, body, kind, self._timeout_s)
        answer = _decode(data)
        if status != 200:
            raise self._refusal(path, status, answer)
        return answer

    def _refusal(self, path: str, status: int, answer: Json) -> ServerRefusedError:
        error = answer.get("error")
        if not isinstance(error, dict):
            found = " ".join(json.dumps(answer)[:200].split())
            message = f"expected an answer of a Sightloop server, found {found}; correct --url"
            error = {"reason": f"http_{status}", "message": message}
        message = f"{self.url}{path}: {error.get('message')} (status {status})"
        return ServerRefusedError(message, str(error.get("reason")), status, answer)

    def _request(
        self, method: str, path: str, body: bytes | None, kind: str, timeout_s: float
    ) -> tuple[int, bytes]:
        headers = dict(self._own_headers)
        if body is not None:
            headers["Content-Type"] = kind
        fresh = self._connection is None
        try:
            return self._exchange(method, path, body, headers, timeout_s)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self.close()
            if fresh:
                raise self._unreachable(error) from error
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        try:  # the server had closed a connection that was kept: once more on a new one
            return self._exchange(method, path, body, headers, timeout_s)
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = (
                http.client.HTTPConnection(self._host, self._port)
                if self._tls is None
                else http.client.HTTPSConnection(self._host, self._port, context=self._tls)
            )
        self._connection.timeout = timeout_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.will_close:
            self.close()
        return response.status, data

    def _unreachable(self, error: Exception) -> ServerUnreachableError:
        advice = "start one with `sightloop serve`, or name it with --url"
        if isinstance(error, ssl.SSLCertVerificationError):
            advice = "name the certificate's authority with --ca-file, or a host that it holds"
        elif isinstance(error, ssl.SSLError):
            advice = "say http:// where the server has no certificate"
        elif isinstance(error, http.client.RemoteDisconnected) and self._tls is None:
            advice = "say https:// where the server has a certificate"
        return ServerUnreachableError(
            f"{self.url}: expected a Sightloop server to answer, found: {error or type(error)}; "
            f"{advice}"
        )

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Checks certificate and name."""
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:  # ssl's own errors are OSErrors
        raise ConfigError(
            f"authority {ca_file}: expected a PEM file of certificates, found: {error}; correct "
            "--ca-file or SIGHTLOOP_CA_FILE",
            "ca_file_invalid",
        ) from error


def _decode(data: bytes) -> Json:
    try:
        value = json.loads(data)
    except ValueError:
        return {"body": " ".join(data[:300].decode(errors="replace").split())}
    return value if isinstance(value, dict) else {"body": value}
