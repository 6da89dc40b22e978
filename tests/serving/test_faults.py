"""What a user may rely on when things break."""

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from recserve_client.errors import ModelUnavailable, QueueFull, ServerUnavailable, ServingError
from serving import shared_memory
from serving.admin import Admin
from serving.server import TritonServer
from serving.watchdog import process_states
from tests.serving import models

pytestmark = pytest.mark.triton_server

PATIENCE_S = 60.0
"""Far more than anything here takes; only a hang reaches it."""
X = np.array([[1.0, -2.0, 0.5]], np.float32)


def ask(client: Admin, model: str, steps: int) -> float | ServingError:
    try:
        return float(client.infer(model, {"steps": np.array([[steps]])}, deadline_s=PATIENCE_S)["total"][0, 0])
    except ServingError as error:
        return error


def flood(pool: ThreadPoolExecutor, client: Admin, model: str, steps: int) -> list[Future[float | ServingError]]:
    """More requests at once than the model's queue takes; returns when one is running and the queue is full."""
    futures = [pool.submit(ask, client, model, steps) for _ in range(8)]
    first = wait(futures, PATIENCE_S, FIRST_COMPLETED).done
    assert first
    return futures


def stubs(server: TritonServer, model: str) -> list[int]:
    """Process ids of the Python stubs that run a model of this server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command[0].endswith("triton_python_backend_stub") and f"{server.repository / model}/" in command[1]:
            found.append(int(path.parent.name))
    return found


def wait_until_gone(processes: Sequence[int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for process in processes:
        while Path(f"/proc/{process}/maps").exists() and Path(f"/proc/{process}/maps").read_text():
            assert time.monotonic() < deadline


@pytest.mark.parametrize("model", ["slow", "slow_ensemble"])
def test_a_full_queue_rejects_at_once_and_the_others_are_answered(client: Admin, model: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = [future.result() for future in flood(pool, client, model, 500_000)]
    answered = [outcome for outcome in outcomes if isinstance(outcome, float)]
    rejected = [outcome for outcome in outcomes if isinstance(outcome, QueueFull)]
    assert len(answered) + len(rejected) == len(outcomes)
    assert set(answered) == {500_000.0}
    assert rejected
    assert "Exceeds maximum queue size; retry with back-off" in str(rejected[0])
    assert ask(client, model, 2) == 2.0


def test_a_server_killed_mid_request_is_an_error_at_once_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    models.publish_slow(tmp_path / "repository")
    first = TritonServer(tmp_path / "repository")
    first.start()
    left = [path for path in shared_memory.DIRECTORY.iterdir() if path.name.startswith(first._started.memory_prefix)]
    assert left
    with first.client() as client, ThreadPoolExecutor(8) as pool:
        futures = flood(pool, client, "slow", 10**9)
        processes = stubs(first, "slow")
        first.process.kill()
        first.process.wait()
        outcomes = [future.result() for future in futures]
    assert {type(outcome) for outcome in outcomes} == {QueueFull, ServerUnavailable}
    for process in processes:
        os.kill(process, signal.SIGKILL)
    wait_until_gone(processes)
    assert first.fault is not None
    # As if the machine had been busy elsewhere for a while since.
    for path in left:
        os.utime(path, (0, 0))
    with TritonServer(tmp_path / "repository") as second, second.client() as client:
        assert not any(path.exists() for path in left)
        assert ask(client, "slow", 3) == 3.0
    first.stop()


def test_a_server_whose_stub_was_killed_does_not_stay_ready(small_repository: Path) -> None:
    with TritonServer(small_repository) as server, server.client() as client:
        (stub,) = stubs(server, "scaled")
        os.kill(stub, signal.SIGKILL)
        with pytest.raises((ModelUnavailable, ServerUnavailable), match="start"):
            client.infer("scaled", {"x": X}, deadline_s=PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while client.server_ready():
            assert time.monotonic() < deadline
        assert server.fault == f"Python stub {stub} of 'scaled' died, so its model cannot answer"
    with TritonServer(small_repository) as server, server.client() as client:
        np.testing.assert_array_equal(client.infer("scaled", {"x": X})["y"], 2 * X + 1)
        assert "Z" not in process_states(server.process.pid).values()
