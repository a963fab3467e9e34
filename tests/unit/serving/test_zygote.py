from pathlib import Path

from sightloop.config.environment import inherited_environment
from sightloop.serving.zygote import Zygote, open_devices


def test_open_device_files_of_a_gpu_are_seen_and_others_are_not(tmp_path: Path) -> None:
    for number, target in enumerate(("/dev/null", "/dev/nvidiactl", "socket:[1]", "/dev/nvidia0")):
        (tmp_path / str(number)).symlink_to(target)
    assert open_devices(tmp_path) == ["/dev/nvidia0", "/dev/nvidiactl"]


def test_zygote_touches_no_gpu_before_it_forks() -> None:
    zygote = Zygote(environment=inherited_environment())
    zygote.wait_until_ready()
    try:
        assert open_devices(Path(f"/proc/{zygote.pid}/fd")) == []
        mapped = Path(f"/proc/{zygote.pid}/maps").read_text()
        assert "libcuda.so" not in mapped
    finally:
        zygote.close()
