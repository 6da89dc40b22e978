"""Tables whose rows are spread over two processes train as in one, and end as an ordinary run."""

import multiprocessing
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training import row_wise_ranks as ranks
from training.checkpoint import load_run, restore
from training.fit import FitOptions, fit

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([ranks.__name__])


def two(work: Callable[..., None], *arguments: Any) -> list[int | None]:
    """Exit codes of both processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [PROCESSES.Process(target=ranks.join, args=(rank, port, work, *arguments)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    return [process.exitcode for process in started]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    assert two(ranks.step_beside_one, folder) == [0, 0]
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of spread and of whole tables, each by two processes."""
    folder = tmp_path_factory.mktemp("trained")
    assert two(ranks.train_twice, folder) == [0, 0]
    return folder


def sides(path: Path) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name, what one process has, what this one of two has."""
    found = load_file(path)
    return [(name[4:], value, found[f"two/{name[4:]}"]) for name, value in found.items() if name.startswith("one/")]


@pytest.mark.parametrize("rank", [0, 1])
def test_forward_gradient_moments_and_updates_are_those_of_one_process(steps: Path, rank: int) -> None:
    compared = sides(steps / f"steps{rank}.safetensors")
    spread = 0
    for name, one, own in compared:
        if one.shape != own.shape:
            spread += 1
            one = one.chunk(2)[rank]
        torch.testing.assert_close(own, one, rtol=1e-4, atol=1e-7, msg=name)
    assert spread == 2 * (2 * ranks.STEPS + 2 * (ranks.STEPS - 1)), "two tables: gradients, weights, moments"


def test_each_process_holds_its_share_of_tables_and_moments(steps: Path) -> None:
    module = ranks.built()
    tables = [value for name, value in module.named_parameters() if name.endswith("rows.weight")]
    dense = [value for name, value in module.named_parameters() if not name.endswith("rows.weight")]
    for rank in (0, 1):
        own, alone = load_file(steps / f"steps{rank}.safetensors")["bytes"].tolist()
        counters = 4 * len([*module.parameters()])
        of = [table.chunk(2)[rank] for table in tables]
        assert alone == 3 * sum(one.nbytes for one in (*tables, *dense)) + counters
        assert own == 3 * sum(one.numel() * 4 for one in (*of, *dense)) + counters


@pytest.mark.parametrize("rank", [0, 1])
def test_unlike_numbers_of_ids_and_means_of_fields_are_looked_up(steps: Path, rank: int) -> None:
    for name, one, own in sides(steps / f"means{rank}.safetensors"):
        one = one.chunk(2)[rank] if one.shape != own.shape else one
        torch.testing.assert_close(own, one, msg=name)


@pytest.mark.parametrize("names", [("spread", "whole"), ("warm spread", "warm whole")])
def test_a_run_ends_with_whole_weights_near_those_of_whole_tables(trained: Path, names: tuple[str, str]) -> None:
    spread, whole = (load_run(trained / name) for name in names)
    assert spread.weights is not None
    assert whole.weights is not None
    for name, value in whole.weights.items():
        gap = (spread.weights[name] - value).abs()
        # Where a gradient is nothing but rounding, Adam moves by its rate of 1e-3 in either direction.
        assert gap.max() < 1e-3, name
        assert (gap > 1e-5).sum() <= 3, name
    assert spread.metrics is not None
    assert whole.metrics is not None
    assert spread.metrics["test"]["auc"] == pytest.approx(whole.metrics["test"]["auc"], abs=1e-4)
    module, _ = restore(spread, ranks.SYSTEM)
    assert module(ranks.fields().test.batch(torch.arange(3).numpy())).shape == (3,)
    assert not [*(trained / "spread").glob("resume*")]


@pytest.mark.slow(30)
@pytest.mark.parametrize("step", [3, pytest.param(6, marks=pytest.mark.long)])
def test_a_run_that_is_killed_and_resumed_ends_bit_identical(trained: Path, tmp_path: Path, step: int) -> None:
    run = tmp_path / "run"
    codes = two(ranks.die, run, step)
    assert -signal.SIGKILL in codes
    assert 0 not in codes, "who lives longer finds nobody to ask"
    assert len([*run.glob("resume-*-1.safetensors")]) == 1
    with pytest.raises(
        ValueError, match=r"cannot resume .*started with --tables row-wise by 2 processes; resume it so"
    ):
        fit(ranks.SYSTEM, ranks.CONFIG, ranks.fields(), FitOptions(run=run, quiet=True, resume=True))
    assert two(ranks.resume, run) == [0, 0]
    for name in ("model.safetensors", "metrics.jsonl", "metrics.json"):
        assert (run / name).read_bytes() == (trained / "spread" / name).read_bytes(), name


def test_one_process_has_nothing_to_spread(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="--tables row-wise spreads rows over processes, and there is one; start it as"
    ):
        fit(ranks.SYSTEM, ranks.CONFIG, ranks.fields(), FitOptions(run=tmp_path / "run", tables="row-wise"))
    assert not (tmp_path / "run").exists()
