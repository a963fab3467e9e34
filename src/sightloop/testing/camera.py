"""A camera: sends frames to a server at a fixed rate, whatever the answers do (open loop).

Latency counts from the *scheduled* time, so a stalled server cannot hide behind a camera that
waits for it. Every frame leaves one record, an unanswered one too. Runs as a process of its own:
`python -m sightloop.testing.camera URL FOLDER RECORDS --fps 30`; ends on SIGTERM or SIGINT after
the open answers are in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO
from urllib.parse import urlsplit

import uvloop

from sightloop._support.clock import Clock, SystemClock
from sightloop.testing.http_connection import HttpConnection

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What became of one frame. Times are CLOCK_MONOTONIC seconds.

    Attributes:
        seq: Number of the frame.
        image: Index into the sorted images of the folder.
        scheduled_s: When it was due.
        sent_s: When its first byte was handed to the socket.
        answered_s: When its answer was whole; None if there was none.
        status: HTTP status; 0 if there was no answer.
        body: Decoded JSON answer, or `{"lost": why}`.
        resent: Sent once more, since the server had closed the idle connection.
    """

    seq: int
    image: int
    scheduled_s: float
    sent_s: float
    answered_s: float | None
    status: int
    body: dict[str, Any]
    resent: bool = False

    @property
    def answered(self) -> bool:
        """Whether the frame got detections."""
        return self.status == 200 and self.answered_s is not None

    @property
    def latency_ms(self) -> float | None:
        """From the scheduled time to the whole answer."""
        return None if self.answered_s is None else (self.answered_s - self.scheduled_s) * 1000

    @property
    def digest(self) -> str | None:
        """The release the answer names."""
        release = self.body.get("release")
        return str(release["digest"]) if isinstance(release, dict) else None


def read_records(path: Path) -> list[FrameRecord]:
    """All records of a finished camera, in the order of the frames.

    Raises:
        ValueError: The file does not end as a finished camera's does.
    """
    lines = path.read_text().splitlines()
    trailer = json.loads(lines[-1]) if lines else {}
    if trailer.get("end") is not True or trailer["frames"] != len(lines) - 1:
        raise ValueError(f"{path}: the camera has not ended in order")
    records = [FrameRecord(**json.loads(line)) for line in lines[:-1]]
    return sorted(records, key=lambda record: record.seq)


def images_of(folder: Path) -> list[Path]:
    """The images a camera cycles through, sorted by name."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise ValueError(f"{folder}: expected images, found none")
    return found


class _Camera:
    """Schedules frames and writes their records."""

    def __init__(self, url: str, images: list[bytes], out: TextIO, clock: Clock) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._path = (parts.path or "/v1/detect") + (f"?{parts.query}" if parts.query else "")
        self._images = images
        self._out = out
        self._clock = clock
        self._idle: list[HttpConnection] = []
        self._open: set[asyncio.Task[None]] = set()
        self._sent = 0
        self.stopped = asyncio.Event()

    async def run(self, fps: float, frames: int | None) -> None:
        for _ in range(4):
            connection = self._connection()
            await connection.open()
            self._idle.append(connection)
        began_s = self._clock.monotonic_s()
        while not self.stopped.is_set() and (frames is None or self._sent < frames):
            due_s = began_s + self._sent / fps
            pause_s = due_s - self._clock.monotonic_s()
            if pause_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopped.wait(), pause_s)
                    break
            task = asyncio.create_task(self._send(self._sent, due_s))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            self._sent += 1
        if self._open:
            await asyncio.wait(list(self._open))
        for connection in self._idle:
            connection.close()
        self._out.write(json.dumps({"end": True, "frames": self._sent}) + "\n")

    def _connection(self) -> HttpConnection:
        return HttpConnection(*self._address, self._path)

    async def _send(self, seq: int, due_s: float) -> None:
        image = seq % len(self._images)
        connection = self._idle.pop() if self._idle else self._connection()
        sent_s = self._clock.monotonic_s()
        answered_s: float | None = None
        status = 0
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                status, data = await connection.post(self._images[image])
            answered_s = self._clock.monotonic_s()
            body = json.loads(data)
            self._idle.append(connection)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            connection.close()
            body = {"lost": f"{type(error).__name__}: {error}"}
        record = FrameRecord(seq, image, due_s, sent_s, answered_s, status, body, connection.resent)
        self._out.write(json.dumps(asdict(record), separators=(",", ":")) + "\n")


async def _main(arguments: argparse.Namespace) -> None:
    images = [path.read_bytes() for path in images_of(arguments.folder)]
    with open(arguments.records, "w", buffering=1 << 20) as out:
        camera = _Camera(arguments.url, images, out, SystemClock())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, camera.stopped.set)
        gc.collect()
        gc.freeze()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await camera.run(arguments.fps, arguments.frames)


class CameraProcess:
    """A camera in a process of its own. Use as a context: it is ended on the way out."""

    def __init__(
        self, url: str, folder: Path, records: Path, *, fps: float = 30, frames: int | None = None
    ) -> None:
        self.records = records
        command = [sys.executable, "-m", "sightloop.testing.camera", url, str(folder)]
        command += [str(records), "--fps", str(fps)]
        if frames is not None:
            command += ["--frames", str(frames)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"camera: expected it to start, exit code {self._process.wait()}")

    def wait(self) -> list[FrameRecord]:
        """Wait until all its frames are answered; for a camera with a number of frames."""
        code = self._process.wait()
        if code != 0:
            raise RuntimeError(f"camera: expected exit code 0, found {code}")
        return read_records(self.records)

    def stop(self) -> list[FrameRecord]:
        """End it and give its records."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def within(records: list[FrameRecord], begin_s: float, end_s: float) -> Iterator[FrameRecord]:
    """The frames scheduled in [begin_s, end_s)."""
    return (record for record in records if begin_s <= record.scheduled_s < end_s)


def main() -> None:
    """The camera's process."""
    parser = argparse.ArgumentParser(prog="python -m sightloop.testing.camera")
    parser.add_argument("url", help="http://HOST:PORT/v1/detect")
    parser.add_argument("folder", type=Path)
    parser.add_argument("records", type=Path)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--frames", type=int)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(arguments))


if __name__ == "__main__":
    main()
