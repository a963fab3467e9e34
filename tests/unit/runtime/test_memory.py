import numpy as np

from sightloop.runtime.memory import give_memory_back, resident_bytes

MIB = 1 << 20


def test_memory_freed_in_small_pieces_goes_back_to_the_system() -> None:
    before = resident_bytes()
    # Small enough to come from the heap, not from mappings of their own.
    pieces = [np.ones(8 << 10, np.uint8) for _ in range(8192)]
    last = np.ones(8 << 10, np.uint8)  # keeps the top of the heap in use
    full = resident_bytes()
    assert full - before > 48 * MIB
    del pieces
    assert give_memory_back()
    assert resident_bytes() - before < 16 * MIB
    assert last.all()
