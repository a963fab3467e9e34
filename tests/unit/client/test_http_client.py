import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sightloop.client.http_client import Client
from sightloop.errors import ConfigError, ServerRefusedError, ServerUnreachableError

Seen = list[tuple[str, str, bytes]]


@contextmanager
def server(answers: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[str, Seen]]:
    """A real HTTP server that gives `answers` in turn and closes each kept connection after one."""
    seen: Seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append((self.command, self.path, body))
            status, value = answers[len(seen) - 1]
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}", seen
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_image_is_sent_as_it_is_and_asked_again_on_a_connection_the_server_closed() -> None:
    with server([(200, {"n": 1}), (200, {"n": 2})]) as (url, seen), Client(url) as client:
        assert client.detect(b"one") == {"n": 1}
        assert client.detect(b"two", line="a b") == {"n": 2}
        assert seen == [("POST", "/v1/detect", b"one"), ("POST", "/v1/detect?line=a%20b", b"two")]


def test_refusal_of_a_gate_is_an_outcome_not_an_error() -> None:
    refused = {"state": "FAILED", "verdicts": [], "refused": {"reason": "too_slow"}}
    with server([(409, refused)]) as (url, seen), Client(url) as client:
        assert client.update("plate", digest="abc") == refused
        assert json.loads(seen[0][2]) == {"bundle": None, "digest": "abc"}


def test_other_refusals_are_errors_with_the_servers_reason() -> None:
    body = {"error": {"reason": "update_in_progress", "message": "one is running"}}
    with (
        server([(409, body)]) as (url, _),
        Client(url) as client,
        pytest.raises(ServerRefusedError, match="one is running") as caught,
    ):
        client.update("plate", digest="abc")
    assert (caught.value.reason, caught.value.status) == ("update_in_progress", 409)


def test_order_is_never_sent_twice() -> None:
    done = {"state": "ACTIVE", "verdicts": []}
    with server([(200, {"n": 1}), (200, done)]) as (url, seen), Client(url) as client:
        client.detect(b"one")
        client.rollback("plate")
        assert [path for _, path, _ in seen] == ["/v1/detect", "/v1/lines/plate/rollback"]


def test_nobody_at_the_address_is_said_with_what_to_do() -> None:
    with server([]) as (url, _):
        pass
    with Client(url) as client, pytest.raises(ServerUnreachableError, match="sightloop serve"):
        client.status("plate")


@pytest.mark.parametrize("url", ["ftp://host", "https://", "host:80", ""])
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        Client(url)


def test_token_goes_with_every_call_and_stays_out_of_errors() -> None:
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization"))
            self.send_response(401)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{listening.server_address[1]}"
    try:
        for token in ("secret", None):
            with Client(url, token=token) as client, pytest.raises(ServerRefusedError) as caught:
                client.lines()
            assert "secret" not in str(caught.value)
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
    assert seen == ["Bearer secret", None]


def test_authority_that_is_no_file_of_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigError) as caught:
            Client("https://127.0.0.1:1", ca_file=path)
        assert caught.value.reason == "ca_file_invalid"


def test_answer_of_something_else_says_which_address_to_correct() -> None:
    with (
        server([(404, {"detail": "Not Found"})]) as (url, _),
        Client(url) as client,
        pytest.raises(ServerRefusedError, match="correct --url") as caught,
    ):
        client.lines()
    assert caught.value.reason == "http_404"


def test_server_without_a_certificate_is_said_to_be_one() -> None:
    with (
        server([]) as (url, _),
        Client(url.replace("http:", "https:")) as client,
        pytest.raises(ServerUnreachableError, match="say http://"),
    ):
        client.lines()
