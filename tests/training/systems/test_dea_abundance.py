"""Abundance: how it is measured, when, and that a resume or a second process changes nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training.systems import dea_ranks
from tests.training.systems.dea_models import SMALL, data
from training.data.columns import Layout
from training.fit import FitOptions, fit
from training.layers.fields import FieldEmbedding
from training.schema import Field
from training.systems.dea import DEA, SYSTEM, stages
from training.systems.dea.abundance import (
    SAMPLED_ROWS,
    deficiency,
    field_abundance,
    information_abundance,
    weighted_rows,
)


def of_sizes(*sizes: int) -> Layout:
    return Layout(
        tuple(Field(name=f"field{n}", role="user", kind="id", cardinality=size) for n, size in enumerate(sizes))
    )


def test_information_abundance_counts_directions() -> None:
    basis = torch.linalg.qr(torch.randn(50, 8, dtype=torch.float64)).Q
    torch.testing.assert_close(float(information_abundance(basis)), 8.0)
    rank_one = torch.outer(torch.randn(50, dtype=torch.float64), torch.randn(8, dtype=torch.float64))
    torch.testing.assert_close(float(information_abundance(rank_one)), 1.0)
    assert information_abundance(torch.zeros(5, 3)) == 1


def test_rows_that_were_never_trained_fake_no_abundance() -> None:
    embedding = FieldEmbedding(of_sizes(1000), 8)
    embedding.frequency[:20] = 5
    with torch.no_grad():
        embedding.rows.weight[:20] = torch.outer(torch.randn(20), torch.randn(8))
    torch.testing.assert_close(float(field_abundance(embedding, 0)), 1 / 8, rtol=1e-4, atol=0.0)


def test_a_large_table_is_sampled_by_frequency_and_judged_like_the_whole() -> None:
    table = torch.randn(2 * SAMPLED_ROWS, 8, dtype=torch.float64) * torch.linspace(0.1, 1, 8)
    frequency = torch.randint(0, 5, (len(table),))
    sample = weighted_rows(table, frequency, torch.Generator().manual_seed(0))
    again = weighted_rows(table, frequency, torch.Generator().manual_seed(0))
    whole = table * frequency.double().sqrt()[:, None]
    assert len(sample) == SAMPLED_ROWS
    assert torch.equal(sample, again)
    torch.testing.assert_close(information_abundance(sample), information_abundance(whole), rtol=0.05, atol=0.0)


def test_a_pair_is_deficient_against_the_median_field() -> None:
    rho = torch.tensor([0.05, 0.2, 0.3, 0.4, 0.9, 1.0, 1.0])
    found = deficiency(rho)
    for i, own in enumerate(rho.tolist()):
        for j, other in enumerate(rho.tolist()):
            assert found[i, j].item() == pytest.approx(min(1.0, max(0.0, 1 - (own * other) ** 0.5 / 0.4)), abs=1e-6)


def test_abundance_is_that_of_the_directions_that_the_rows_in_use_could_have() -> None:
    embedding = FieldEmbedding(of_sizes(50, 4), 8)
    embedding.frequency.fill_(1)
    with torch.no_grad():
        embedding.rows.weight[:50] = torch.linalg.qr(torch.randn(50, 8)).Q
        embedding.rows.weight[50:] = torch.eye(4, 8)
    assert field_abundance(embedding, 0).tolist() == pytest.approx([1.0, 1.0], rel=1e-5)
    embedding.frequency[:] = torch.arange(54)
    weighted = embedding.rows.weight[:50].detach().double() * torch.arange(50).double().sqrt()[:, None]
    sigma = torch.linalg.svdvals(weighted)
    assert field_abundance(embedding, 0)[0].item() == pytest.approx(float(sigma.sum() / sigma.max() / 8), rel=1e-5)


class StopError(Exception):
    """The run is cut off."""


def test_abundance_is_measured_again_every_so_often_and_the_same_after_a_resume(tmp_path: Path) -> None:
    config = replace(SMALL, refresh_every=3, epochs=2, batch_size=300, learning_rate=0.02)

    def train(name: str, stop_at: int | None = None, *, resume: bool = False) -> DEA:
        steps = 0

        def stopping(module: torch.nn.Module, batch: object, done: float) -> tuple[Tensor, dict[str, Tensor]]:
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise StopError
            return stages(config)[0].loss(module, batch, done)

        system = replace(SYSTEM, stages=lambda config: [replace(stages(config)[0], loss=stopping)])
        options = FitOptions(run=tmp_path / name, quiet=True, checkpoint_every=4, resume=resume)
        module = fit(system, config, data(), options).module
        assert isinstance(module, DEA)
        return module

    whole = train("whole")
    with pytest.raises(StopError):
        train("cut", stop_at=11)
    train("cut", resume=True)
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert whole.abundance.rho.max() < 1, "nothing was measured"
    torch.testing.assert_close(whole.abundance.deficiency, deficiency(whole.abundance.rho))
    assert int(whole.abundance.steps) in (8, 16)


@pytest.mark.slow
def test_among_several_processes_the_first_measures_for_all(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    script = str(Path(dea_ranks.__file__))
    done = subprocess.run(
        [*command, script, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert torch.equal(first["rho"], second["rho"])
    assert torch.equal(first["deficiency"], second["deficiency"])
    assert torch.equal(first["rho"], first["own"])
    assert not torch.equal(second["rho"], second["own"]), "the ranks' tables differ, so their own figures must"
