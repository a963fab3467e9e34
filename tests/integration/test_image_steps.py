"""The serving image's own steps, in a clean folder, by a user without rights: then it serves.

What an engine would do is done by hand: the image's paths lie below one folder, `COPY` and the
`RUN` steps of Python are carried out as they stand in the Dockerfile, those that make a user are
not. It downloads the core install, hence slow.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sightloop.client.http_client import Client
from sightloop.testing.dockerfile import Stage, last_value, lineage_of, parse_dockerfile
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

ROOT = Path(__file__).resolve().parents[2]
STAGES = parse_dockerfile((ROOT / "deploy/Dockerfile").read_text())
NOBODY = 65534
IMAGE_PATHS = ("/src", "/wheels", "/opt/sightloop", "/models")
CORE_BYTES_MAX = 450 << 20

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Image:
    """A folder that stands for an image's root.

    Attributes:
        path: Where commands are looked for, as the image's PATH says.
    """

    root: Path
    path: str

    def text(self, text: str) -> str:
        """A text of the Dockerfile with the image's paths moved below the folder."""
        pattern = "|".join(re.escape(path) for path in IMAGE_PATHS)
        return re.sub(rf"(?<![\w./])({pattern})\b", rf"{self.root}\1", text)

    def popen(self, words: list[str], folder: Path, **variables: str) -> subprocess.Popen[str]:
        """Start a command as the user without rights, in an environment of its own."""
        kept = {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "SSL_"))}
        home = {"HOME": str(self.root / "home"), "PATH": self.path}
        rights: dict[str, Any] = (
            {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        return subprocess.Popen(
            words,
            cwd=folder,
            env={**kept, **home, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **rights,
        )


def python_for_anybody() -> str:
    """An interpreter that a user without rights can start and make environments with."""
    for found in (os.path.realpath(sys.executable), "/usr/bin/python3.11", "/usr/bin/python3"):
        probe = ["-c", "import ensurepip, sys; assert sys.version_info >= (3, 11)"]
        rights: dict[str, Any] = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
        try:
            done = subprocess.run([found, *probe], capture_output=True, check=False, **rights)
        except OSError:
            continue
        if done.returncode == 0:
            return found
    pytest.skip("no Python 3.11 with ensurepip that a user without rights may start")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="sightloop-image-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        for folder in ("home", "src", "wheels", "opt", "models"):
            (root / folder).mkdir()
        (root / "bin").mkdir()
        (root / "bin/python").symlink_to(python_for_anybody())
        own(root)
        build = Image(root, f"{root}/bin:/usr/bin:/bin")
        carry_out(build, STAGES[0])
        for stage in lineage_of(STAGES, "serve"):
            carry_out(build, stage)
        own(root / "opt", 0)  # as `COPY --from` does: who serves cannot write there
        yield Image(root, f"{root}/opt/sightloop/bin:{build.path}")


def own(folder: Path, owner: int = NOBODY) -> None:
    """Hand a tree to the user without rights, or back."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)


def carry_out(image: Image, stage: Stage) -> None:
    folder = image.root
    for one in stage.instructions:
        if one.word == "WORKDIR":
            folder = Path(image.text(one.value))
        elif one.word == "COPY" and "from" not in one.flags:
            *sources, _ = shlex.split(one.value)
            for source in sources:
                copy(ROOT / source, folder / source)
            own(folder)
        elif one.word == "RUN" and "python" in one.value:
            step = image.popen(["sh", "-c", image.text(one.value)], folder)
            _, said = step.communicate()
            assert step.returncode == 0, said[-3000:]


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source, target, ignore=left_out)
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def traffic(image: Image) -> Traffic:
    made = tiny_traffic(image.root / "models", images=1)
    own(image.root / "models")
    return made


def test_image_serves_and_updates_as_a_user_without_rights(image: Image, traffic: Traffic) -> None:
    before = set((image.root / "opt").rglob("*"))
    program, *words = command_of(image, traffic)
    server = image.popen(
        [program, *words, "--json"],
        traffic.workspace.root,
        SIGHTLOOP_SERVE_PORT="0",
        PYTHONDONTWRITEBYTECODE="1",
    )
    try:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        assert said["champions"]["plate"]["digest"] == traffic.digests[0]
        with Client(said["url"]) as client:
            assert client.ready()
            assert client.update("plate", digest=traffic.digests[1])["state"] == "ACTIVE"
            answer = client.detect((traffic.images / "000.jpg").read_bytes())
            assert answer["release"]["digest"] == traffic.digests[1]
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0
    assert set((image.root / "opt").rglob("*")) == before, "the root may be read-only"


def command_of(image: Image, traffic: Traffic) -> list[str]:
    stages = lineage_of(STAGES, "serve")
    words: list[str] = []
    for kind in ("ENTRYPOINT", "CMD"):
        found = last_value(stages, kind)
        assert found is not None
        words += found.as_list()
    place = words.index("/models")
    words[place] = str(traffic.workspace.root)
    program = shutil.which(words[0], path=image.path)
    assert program == str(image.root / "opt/sightloop/bin/sightloop")
    return [program, *words[1:], "--release", str(traffic.folder_of(traffic.digests[0]))]


def test_doctor_of_the_image_finds_nothing_that_fails(image: Image) -> None:
    program = str(image.root / "opt/sightloop/bin/sightloop")
    words = [program, "doctor", "--json", "--workspace", str(image.root / "models")]
    done = image.popen(words, image.root)
    out, said = done.communicate()
    assert done.returncode == 0, said
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["cv2"]["found"] == "opencv-python-headless"
    assert "not installed" in checks["extra train"]["found"]


def test_core_install_is_as_small_as_promised(image: Image) -> None:
    files = (path for path in (image.root / "opt/sightloop").rglob("*") if path.is_file())
    used = sum(path.lstat().st_blocks * 512 for path in files if not path.is_symlink())
    assert used <= CORE_BYTES_MAX, f"{used / 2**20:.0f} MiB"
