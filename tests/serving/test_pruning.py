import os
import time
from pathlib import Path

import pytest

from serving import pruning, runtime, server_log
from serving.server import TritonServer

DAY_S = 24 * 3600


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path / "cache"))
    server_log.folder().mkdir(parents=True)
    runtime.backend_cache().mkdir()
    return tmp_path / "cache"


def aged(path: Path, age_s: float) -> Path:
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def log(name: str, age_s: float) -> Path:
    path = server_log.folder() / name
    path.touch()
    return aged(path, age_s)


def backends(name: str, age_s: float) -> Path:
    path = runtime.backend_cache() / name
    (path / "python").mkdir(parents=True)
    (path / "python" / "model.py").touch()
    return aged(path, age_s)


def test_logs_of_more_than_seven_days_go() -> None:
    old = [log(f"{days}-days.log", days * DAY_S) for days in (8, 30)]
    young = [log("6-days.log", 6 * DAY_S), log("today.log", 0)]
    other = log("notes.txt", 30 * DAY_S)
    assert set(pruning.prune()) == set(old)
    assert set(server_log.folder().iterdir()) == {*young, other}


def test_the_eight_newest_backend_directories_stay_however_old() -> None:
    made = [backends(f"{number:016x}", (100 + number) * DAY_S) for number in range(11)]
    assert set(pruning.prune()) == set(made[8:])
    assert set(runtime.backend_cache().iterdir()) == set(made[:8]), "nor is anything left of the others"


def test_an_empty_or_missing_cache_is_no_error(cache: Path) -> None:
    assert pruning.prune() == []
    cache.rename(cache.with_name("gone"))
    assert pruning.prune() == []


def test_a_backend_directory_that_is_asked_for_is_new_again() -> None:
    used = aged(runtime.backend_directory(runtime.BACKENDS), 100 * DAY_S)
    others = [backends(f"{number:016x}", (1 + number) * DAY_S) for number in range(8)]
    assert runtime.backend_directory(runtime.BACKENDS) == used
    assert pruning.prune() == [others[-1]]


@pytest.mark.triton_server
def test_a_server_that_starts_prunes_and_what_it_uses_stays(small_repository: Path) -> None:
    old = log("old.log", 30 * DAY_S)
    with TritonServer(small_repository) as server:
        assert not old.exists()
        (own,) = runtime.backend_cache().iterdir()
        for number in range(8):
            backends(f"{number:016x}", 0)
        mine = {aged(own, 30 * DAY_S), aged(server.log, 30 * DAY_S)}
        assert pruning.prune() == []
    aged(server.log, 30 * DAY_S)
    assert set(pruning.prune()) == mine
