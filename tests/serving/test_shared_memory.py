import mmap
import os
from pathlib import Path

import pytest

from serving import shared_memory

OURS = f"{shared_memory.prefix('0123abcd')}d989f27a-ea2a"
DEFAULT = "triton_onnxruntime_backend_shm_region_237fb226"


def leave(folder: Path, name: str, age_s: float = 3600.0) -> Path:
    path = folder / name
    path.write_bytes(bytes(mmap.PAGESIZE))
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize("name", [pytest.param(OURS, id="ours"), DEFAULT, "triton_python_backend_shm_region_1"])
def test_a_file_that_a_killed_server_left_is_swept(tmp_path: Path, name: str) -> None:
    path = leave(tmp_path, name)
    assert shared_memory.sweep(tmp_path) == [name]
    assert not path.exists()


@pytest.mark.parametrize("name", ["psm_1234", "recserve_", "torch_1_2", "sem.triton", "xrecserve_1_ab_c"])
def test_a_file_of_anybody_else_stays(tmp_path: Path, name: str) -> None:
    path = leave(tmp_path, name)
    assert shared_memory.sweep(tmp_path) == []
    assert path.exists()


@pytest.mark.parametrize("name", [pytest.param(OURS, id="ours"), DEFAULT])
def test_a_file_that_a_living_process_maps_stays(tmp_path: Path, name: str) -> None:
    path = leave(tmp_path, name)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert shared_memory.sweep(tmp_path) == []
    assert shared_memory.sweep(tmp_path) == [name]


def test_a_file_that_was_made_just_now_stays(tmp_path: Path) -> None:
    leave(tmp_path, OURS, age_s=0.0)
    assert shared_memory.sweep(tmp_path) == []
