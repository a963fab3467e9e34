import subprocess
import sys

from sightloop.runtime.memory import give_memory_back, resident_bytes

MIB = 1 << 20


def free_in_small_pieces() -> None:
    """Run in a process of its own: the heap of a long test run has holes that hide the figures."""
    import numpy as np

    before = resident_bytes()
    # Small enough to come from the heap, not from mappings of their own.
    pieces = [np.ones(8 << 10, np.uint8) for _ in range(8192)]
    last = np.ones(8 << 10, np.uint8)  # keeps the top of the heap in use
    full = resident_bytes()
    del pieces
    given = give_memory_back()
    left = resident_bytes() - before
    sys.stdout.write(f"{full - before} {left} {int(given and last.all())}\n")


def test_memory_freed_in_small_pieces_goes_back_to_the_system() -> None:
    command = [sys.executable, __file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, left, given = (int(word) for word in done.stdout.split())
    assert given == 1
    assert taken > 48 * MIB
    assert left < 16 * MIB


if __name__ == "__main__":
    free_in_small_pieces()
