"""A small process with the imports done, from which workers are forked.

Importing numpy, OpenCV and ONNX Runtime costs half a second of CPU at normal priority, which
delays frames; forking costs milliseconds. Invariant: the zygote holds one thread, no session and
no release, so that a fork is safe; ONNX Runtime's telemetry thread is off for that reason. It
never opens a GPU.

Protocol on its control socket (a Unix socketpair): one byte `F` with one file descriptor in,
the child's pid (4 bytes) out. When the front is gone the socket closes: workers end by
themselves (their sockets close too), and the zygote kills those that have not after a grace.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from sightloop.errors import ServingError

PID = struct.Struct("!i")
_FORK = b"F"
_READY = b"R"
_POLL_S = 1.0
_GRACE_S = 3.0
_REAP_S = 0.02
_STDERR = 2

ENVIRONMENT = {
    # A second thread in the zygote would make fork unsafe.
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # torch's allocator of GPU memory then leaves no holes that no later block fits into.
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    # float32 is float32 on a GPU too: a release serves with the digits it was proven with.
    "NVIDIA_TF32_OVERRIDE": "0",
    # One malloc arena that keeps its pages: the serving thread reuses what the loader thread has
    # faulted in. A worker serves one release and exits, so nothing piles up.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
}


_SEND_BYTES = 1 << 20
"""Two images in a worker's socket: the front then writes each with one call. The kernel may give
less."""


class Zygote:
    """The front's side: starts the process and asks it for workers. Thread-safe.

    The process imports while its starter does: `wait_until_ready` comes before the first fork.
    """

    def __init__(self, *, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self._control = ours
        self._lock = threading.Lock()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sightloop.serving.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,  # what foreign libraries print is no answer of the command's
                env={**environment, **ENVIRONMENT},
            )
        finally:
            theirs.close()

    def wait_until_ready(self) -> None:
        """Return when it can fork.

        Raises:
            ServingError: It ended instead.
        """
        self._expect(_READY)

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    def fork_worker(self) -> tuple[int, socket.socket]:
        """Fork one worker.

        Returns:
            Its pid, and the front's end of its socket.

        Raises:
            ServingError: The zygote is gone.
        """
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        with self._lock:
            try:
                socket.send_fds(self._control, [_FORK], [theirs.fileno()])
                data = self._control.recv(PID.size, socket.MSG_WAITALL)
            except OSError as error:
                ours.close()
                raise ServingError(f"zygote: {error}", "zygote_died") from error
            finally:
                theirs.close()
        if len(data) != PID.size:
            ours.close()
            raise ServingError("zygote: it ended; restart the server", "zygote_died")
        return PID.unpack(data)[0], ours

    def close(self) -> None:
        """Let the zygote end, and wait for it."""
        self._control.close()
        try:
            self._process.wait(timeout=_GRACE_S + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _expect(self, word: bytes) -> None:
        if self._control.recv(1) != word:
            code = self._process.wait()
            self._control.close()
            raise ServingError(
                f"zygote: expected it to start, found exit code {code}; see its messages above",
                "zygote_died",
            )


def _preload() -> None:
    """Import what a worker needs; nothing here may start a thread or open a device."""
    from sightloop.gates import chain
    from sightloop.serving import worker

    del chain, worker
    import cv2

    cv2.setNumThreads(1)
    gc.collect()
    gc.freeze()


def open_devices(descriptors: Path = Path("/proc/self/fd")) -> list[str]:
    """NVIDIA device files that a process holds open: CUDA after a fork of such a one is undefined.

    Args:
        descriptors: Folder of links, one a descriptor.
    """
    found = []
    for link in descriptors.iterdir():
        with contextlib.suppress(OSError):  # the folder's own descriptor is gone by now
            found.append(os.readlink(link))
    return sorted(name for name in found if name.startswith("/dev/nvidia"))


def _fork_one(control: socket.socket, fds: list[int], children: set[int]) -> None:
    pid = os.fork()
    if pid == 0:
        _name_process("sightloop-work")
        control.close()
        code = 1
        try:
            from sightloop.serving.worker import run_worker

            run_worker(socket.socket(fileno=fds[0]))
            code = 0
        finally:
            os._exit(code)
    os.close(fds[0])
    children.add(pid)
    control.sendall(PID.pack(pid))


def _name_process(name: str) -> None:
    """What `ps -o comm` and `top` show; at most 15 characters."""
    Path("/proc/self/comm").write_text(name)


def _reap(children: set[int]) -> None:
    while children:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            children.clear()
            return
        if pid == 0:
            return
        children.discard(pid)


def _serve(control: socket.socket) -> None:
    children: set[int] = set()
    control.sendall(_READY)
    while True:
        readable, _, _ = select.select([control], [], [], _POLL_S)
        _reap(children)
        if not readable:
            continue
        try:
            data, fds, _, _ = socket.recv_fds(control, 1, 1)
        except ConnectionError:
            data, fds = b"", []
        if data != _FORK:
            break
        _fork_one(control, fds, children)
    waited_s = 0.0
    while children and waited_s < _GRACE_S:
        select.select([], [], [], _REAP_S)
        waited_s += _REAP_S
        _reap(children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """The zygote's process: `python -m sightloop.serving.zygote FD`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    _name_process("sightloop-zygot")
    _preload()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        sys.stderr.write(f"zygote: expected 1 thread before forking, found {threads}\n")
    if devices := open_devices():
        sys.exit(
            f"zygote: expected no GPU in use before forking, found {', '.join(devices)}; an "
            "imported library opens it; serve from an environment without that library"
        )
    try:
        _serve(control)
    except BrokenPipeError:
        return


if __name__ == "__main__":
    main()
