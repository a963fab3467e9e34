import subprocess
import sys

from sightloop.testing.process_tree import anonymous_mib, cpu_s, tree_of

CHILD = """
import subprocess, sys
code = "import sys; sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
held = bytearray(64 << 20)
held[::4096] = bytes(len(held[::4096]))
sum(range(10_000_000))
print(child.pid, flush=True)
sys.stdin.read()
child.stdin.close()
child.wait()
"""


def test_tree_holds_children_and_their_memory_and_cpu_time_count() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert set(tree_of(process.pid)) == {process.pid, child}
        assert 64 < anonymous_mib(process.pid) < 128
        assert cpu_s(process.pid) > 0.05
        process.communicate("")
    assert anonymous_mib(process.pid) == 0.0
