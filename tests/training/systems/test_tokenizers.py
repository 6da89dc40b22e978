"""What holds for every tokenizer: it learns, names all items, and names each the same in any company."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.systems.tokenizer_models import catalogue, items, prepared, settings, train
from training import checkpoint
from training.baselines import rqvae
from training.fit import FitOptions, fit
from training.layers.tokenizer import Judge, catalogue_tokens
from training.loop import predict
from training.system import System
from training.systems import mmq, mmq2, mpq

SYSTEMS = {system.name: system for system in (rqvae.SYSTEM, mpq.SYSTEM, mmq.SYSTEM, mmq2.SYSTEM)}
POSITIONS = {"rqvae": 4, "mpq": 4, "mmq": 6, "mmq2": 6}


@pytest.fixture(params=list(SYSTEMS))
def system(request: pytest.FixtureRequest) -> System:
    return SYSTEMS[request.param]


def test_training_leaves_ids_and_weights_of_the_whole_catalogue(system: System, tmp_path: Path) -> None:
    data = catalogue(system)
    result = fit(system, system.config(**settings(system)), data, FitOptions(run=tmp_path / "run", quiet=True))
    products = checkpoint.load_run(tmp_path / "run").products
    assert products is not None
    shape = (61, POSITIONS[system.name])
    assert products["codes"].shape == products["weights"].shape == shape
    assert products["codes"].dtype == torch.int64
    assert products["weights"].dtype == torch.float32
    assert not products["codes"][0].any()
    assert not products["weights"][0].any()
    assert products["codes"].min() >= 0
    learnt = getattr(result.module, "num_positions")  # noqa: B009 - the module's type is open here
    assert products["codes"][:, :learnt].max() < settings(system)["words"]
    assert system.name == "mmq2" or (products["weights"][1:] == 1).all()
    for part in ("validation", "test"):
        measured = result.metrics[part]
        assert {"recon_loss", "recon_mean", "utilisation", "entropy", "collision_rate"} <= measured.keys()
        assert all(np.isfinite(value) for value in measured.values())
    widths = sum(part.shape[1] for part in data.vectors[1 : 4 if system.name == "mmq2" else 3])
    assert result.metrics["test"]["recon_mean"] * widths == pytest.approx(result.metrics["test"]["recon_loss"])


def test_what_training_counts_is_in_its_checkpoints(system: System) -> None:
    module = prepared(system, catalogue(system))
    counted = {"levels.0.used", "levels.0.steps"} if system.name == "rqvae" else {"codebooks.used", "codebooks.steps"}
    counted |= {"mmq": {"content_codes"}, "mmq2": {"sparsity.strength", "sparsity.theta"}}.get(system.name, set())
    assert counted <= module.state_dict().keys()


def test_the_loss_falls(system: System) -> None:
    data = catalogue(system)
    module = prepared(system, data, batch_size=57)
    losses = train(system, module, data, 40)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_an_item_has_the_same_ids_alone_in_a_batch_and_in_the_catalogue(system: System) -> None:
    data = catalogue(system)
    module = prepared(system, data).eval()
    codes, weights = catalogue_tokens(module, data.vectors)
    split_up, _ = catalogue_tokens(module, data.vectors, batch_size=7)
    assert torch.equal(codes, split_up)
    places, judge = module.num_positions, Judge(module)
    for item in (1, 17, 60):
        alone = judge(data.test.batch(np.array([item - 1])))[0]
        assert alone[:places].tolist() == codes[item].tolist()
        torch.testing.assert_close(alone[places:-1].float(), weights[item])


def test_training_counts_words_and_puts_unused_ones_where_items_are(system: System) -> None:
    data = catalogue(system)
    module, batch = prepared(system, data, reseed_every=2), items(data)
    loss, books = (
        system.stages_of(module.config)[0].loss,
        module.levels if system.name == "rqvae" else [module.codebooks],
    )
    with torch.no_grad():
        for one in books:
            one.words[:, -1] = 1e3 * torch.randn_like(one.words[:, -1])
    far = [one.words[:, -1].clone() for one in books]
    for step in (1, 2):
        loss(module, batch, 0.0)
        assert [int(one.steps) for one in books] == [step] * len(books)
        assert all((one.used.sum(1) == 60 * step).all() for one in books)
    for one in books:
        one.used[:, -1] = 0
    loss(module, batch, 0.0)
    assert [int(one.steps) for one in books] == [1] * len(books)
    assert not any(torch.equal(one.words[:, -1], before) for one, before in zip(books, far, strict=True))


def test_words_start_by_k_means_over_what_the_catalogue_gives(system: System) -> None:
    data = catalogue(system)
    torch.manual_seed(0)
    module: Any = system.build(system.config(**settings(system)), data.schema)
    books = list(module.levels) if system.name == "rqvae" else [module.codebooks]
    at_first = [one.words.clone() for one in books]
    module.prepare(data)
    assert not any(torch.equal(one.words, before) for one, before in zip(books, at_first, strict=True))
    codes, _ = catalogue_tokens(module.eval(), data.vectors)
    used = [len(column.unique()) for column in codes[1:].T]
    assert used[0] > 0.6 * module.num_words


def test_a_word_lent_to_two_places_is_named_by_the_lower(system: System) -> None:
    data = catalogue(system)
    module = prepared(system, data).double()
    books = module.levels[0] if system.name == "rqvae" else module.codebooks
    with torch.no_grad():
        books.words[:, 8:12] = books.words[:, :4]
    codes, _ = catalogue_tokens(module, data.vectors)
    assert not ((codes[:, 0] >= 8) & (codes[:, 0] < 12)).any()
    assert (codes[1:, 0] < 4).any()


def test_evaluation_counts_what_the_tokens_say(system: System) -> None:
    data = catalogue(system)
    module = prepared(system, data).eval()
    measured = system.measure(module, predict, data.test)
    codes, _ = catalogue_tokens(module, data.vectors)
    distinct = len({tuple(row) for row in codes[1:].tolist()})
    assert measured["collision_rate"] == pytest.approx(1 - distinct / 60)
    used = [len(set(column)) for column in codes[1:].T.tolist()]
    assert measured["utilisation"] == pytest.approx(np.mean(used) / settings(system)["words"])


@pytest.mark.parametrize(("field", "value"), [("words", 0), ("epochs", 0), ("hidden", -1)])
def test_a_size_that_cannot_be_is_refused_by_name(system: System, field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        system.config(**{field: value})


def test_evaluation_leaves_the_tokenizer_in_its_own_precision(system: System) -> None:
    data = catalogue(system)
    module: nn.Module = prepared(system, data)
    system.measure(module, predict, data.test)
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())


def test_the_better_tokenizer_is_the_one_with_the_smaller_loss(system: System) -> None:
    for stage in system.stages_of(system.config(patience=7)):
        assert stage.monitor.endswith("_loss")
        assert stage.direction == "min"
    assert system.stages_of(system.config(patience=7))[0].patience == 7
