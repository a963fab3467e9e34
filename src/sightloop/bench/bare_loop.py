"""The bound of `bench capacity`: a loop of decode, letterbox, network and suppression. A `Meter`.

No server, no socket, no JSON: what one core can do with a release at the very best.
`python -m sightloop.bench.bare_loop BUNDLE FOLDER`.
"""

from __future__ import annotations

import argparse
import os
from itertools import cycle
from pathlib import Path

from sightloop._support.clock import SystemClock
from sightloop.release.bundle import read_bundle
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.testing.camera import images_of
from sightloop.testing.meter import serve_turns
from sightloop.testing.process_tree import cpu_s

_CLOCK = SystemClock()


def _turn(release: LoadedRelease, images: list[bytes], seconds: float) -> dict[str, float]:
    began_s = now_s = _CLOCK.monotonic_s()
    began_cpu_s = cpu_s(os.getpid())
    answers = 0
    for image in cycle(images):
        release.answer(image)
        answers += 1
        now_s = _CLOCK.monotonic_s()
        if now_s >= began_s + seconds:
            break
    return {
        "answers": answers,
        "seconds": now_s - began_s,
        "cpu_s": cpu_s(os.getpid()) - began_cpu_s,
    }


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m sightloop.bench.bare_loop")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    images = [path.read_bytes() for path in images_of(arguments.folder)]
    release.answer(images[0])
    serve_turns(lambda seconds: _turn(release, images, seconds))


if __name__ == "__main__":
    main()
