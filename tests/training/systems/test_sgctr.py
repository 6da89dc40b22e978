"""The checks that show that SGCTR is real: what is inconsistent is generated anew, and nothing else moves."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.artifacts import Source
from export.repository import publish
from serving.direct import DirectModel
from tests.training.systems.generator_models import (
    NUM_ITEMS,
    NUM_USERS,
    SMALL,
    data,
    features,
    pretrained,
    tuned,
    untrained,
)
from tests.training.systems.served_edges import check_edges, check_negatives, request
from tests.training.systems.sgctr_models import around, config_of, given, rows_of
from training.data.altered import Damaged, corrupt
from training.fit import FitOptions, fit
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator, normal
from training.loop import predict
from training.system import prepare
from training.systems.dgenctr import SYSTEM as DGENCTR
from training.systems.sgctr import SYSTEM, Sgctr
from training.systems.sgctr.evaluation import Answers, evaluate
from training.systems.sgctr.model import RAMP, pinball

ROUNDS = (1, 2)


@cache
def mending(rounds: int = 1) -> Sgctr:
    return around(pretrained(), rounds=rounds)


def damaged(count: int) -> Damaged:
    split = data().test
    clean = split.features(np.arange(len(split))).ids
    return Damaged(split, corrupt(clean, mending().base.embedding.sizes, mending().anchors, count))


@torch.no_grad()
def mended(module: Sgctr, x: Features) -> tuple[torch.Tensor, Any]:
    first = module.base.embedding(x)
    return first, module.mend(first, module.base.denoiser.states(first))


def test_without_rounds_the_logit_is_the_generator_s_bit_for_bit() -> None:
    base, x = untrained(), features()
    module = around(base, rounds=0)
    assert torch.equal(module.logits(x), base.logits(x))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_rows_without_doubt_have_the_generator_s_logit_bit_for_bit_and_cost_no_round(rounds: int) -> None:
    module, x = mending(rounds), features()
    seen: list[int] = []
    states = module.base.denoiser.states

    def counted(fields: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(len(fields))
        return states(fields, label)

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.base.denoiser, "states", counted)
        found = module.logits(x)
        patch.undo()
        first = module.base.embedding(x)
        doubt = module.doubt(module.consistency(states(first), first))
        base = module.base.logits(x)
    assert 0.05 < (doubt == 0).float().mean() < 0.95
    assert torch.equal(found[doubt == 0], base[doubt == 0])
    assert not torch.equal(found[doubt > 0], base[doubt > 0])
    # One pass over all rows, then two a round over the doubtful ones and one row more.
    assert seen == [len(x.ids), *([int((doubt > 0).sum()) + 1] * (2 * rounds))]


def test_an_original_that_weighs_everything_stays_and_one_that_weighs_nothing_is_what_was_generated() -> None:
    x = features(50)
    for threshold, stays in ((-9.0, True), (9.0, False)):
        module = around(pretrained(), steepness=200.0)
        with torch.no_grad():
            module.thresholds[0] = threshold
        first, after = mended(module, x)
        masks = after.rounds[0].masks == 1
        if stays:
            torch.testing.assert_close(after.vectors, first)
        else:
            with torch.no_grad():
                hidden = module.base.masked(first, masks)
                made = module.base.denoiser.directions(module.base.denoiser.states(hidden))
            whole = (after.rounds[0].masks % 1 == 0).all(1)
            torch.testing.assert_close(
                normal(after.vectors[whole])[masks[whole]], made[whole][masks[whole]], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("rounds", ROUNDS)
def test_what_is_not_masked_never_moves_and_anchors_and_lengths_stay(rounds: int) -> None:
    module = mending(rounds)
    first, after = mended(module, features())
    touched = torch.stack([one.masks > 0 for one in after.rounds]).any(0)
    assert not touched[:, module.anchors].any()
    assert torch.equal(after.vectors[~touched], first[~touched])
    assert not torch.equal(after.vectors[touched], first[touched])
    length, now = first.norm(dim=-1), after.vectors.norm(dim=-1)
    assert (now <= length + 1e-4).all(), "a blend of two vectors of one length is no longer"
    assert module.counts == [5, 2][:rounds]
    assert [float(one.masks.sum(1).mean()) for one in after.rounds] == pytest.approx(module.counts, abs=0.1)


def test_a_second_round_blends_with_the_original_and_not_with_the_first() -> None:
    module = mending(2)
    first, after = mended(module, features())
    denoiser = module.base.denoiser
    with torch.no_grad():
        once = mended(mending(1), features())[1]
        masks = module.lowest(module.consistency(denoiser.states(once.vectors), first), module.counts[1])
        hidden = once.vectors + masks[..., None] * (denoiser.masks[:-1] - once.vectors)
        made = denoiser.directions(denoiser.states(hidden))
        cosine = (made * normal(first)).sum(-1)
        weight = torch.sigmoid(6.0 * (cosine - module.thresholds[0]))[..., None]
        blended = weight * first + (1 - weight) * made * first.norm(dim=-1, keepdim=True)
        again = (masks == 1) & (once.rounds[0].masks == 1)
    assert again.any()
    torch.testing.assert_close(after.vectors[again], blended[again], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after.vectors[again], once.vectors[again])


def test_damaged_fields_are_masked_more_often_than_by_chance_and_mending_them_helps() -> None:
    measured = evaluate(mending(), predict, data().test)
    for count in (1, 2, 3):
        assert measured[f"corrupt{count}_found"] > 1.3 * measured[f"corrupt{count}_by_chance"]
        assert measured[f"corrupt{count}_early_exit"] < measured["early_exit"]
    assert measured["gain"] > -0.01
    assert measured["corrupt3_gain"] > 0.01


@pytest.mark.long
def test_a_generator_of_shuffled_rows_finds_nothing_and_does_not_help() -> None:
    """The same stages, steps and click logit but for what belongs together in the rows of the generative one."""
    true, measured = (evaluate(around(tuned(shuffled=one)), predict, data().test) for one in (False, True))
    assert measured["base_auc"] > 0.9
    for count in (1, 2, 3):
        assert measured[f"corrupt{count}_found"] == pytest.approx(measured[f"corrupt{count}_by_chance"], rel=0.25)
        assert measured[f"corrupt{count}_gain"] < 0.01
        assert true[f"corrupt{count}_found"] > 1.3 * measured[f"corrupt{count}_found"]
        assert true[f"corrupt{count}_gain"] > measured[f"corrupt{count}_gain"] + 0.005
        assert true[f"corrupt{count}_by_chance"] == measured[f"corrupt{count}_by_chance"]


def test_thresholds_are_the_percentile_of_clean_validation_rows(tmp_path: Path) -> None:
    run = fit(SYSTEM, config_of(), given(pretrained()), FitOptions(run=tmp_path / "run", quiet=True))
    module = run.module
    assert isinstance(module, Sgctr)
    x, place = rows_of(data().validation), 3
    with torch.no_grad():
        cosines = module.alone(x)
        masks = torch.zeros_like(x.ids, dtype=torch.bool)
        masks[:, place] = True
        first = module.base.embedding(x)
        made = module.base.denoiser.directions(module.base.denoiser.states(module.base.masked(first, masks)))
    below = (cosines < module.thresholds[:, None]).float().mean(1)
    assert (below - 0.2).abs().max() < 0.1
    torch.testing.assert_close(cosines[0, :, place], torch.cosine_similarity(made, first, dim=-1)[:, place])


def test_a_run_takes_the_generator_s_weights_and_moves_nothing_but_thresholds(tmp_path: Path) -> None:
    base, made = untrained(), given(untrained())
    products = DGENCTR.products
    assert products is not None
    assert products(base, data()).keys() == made.given.keys()
    run = fit(SYSTEM, config_of(), made, FitOptions(run=tmp_path / "run", quiet=True))
    module = run.module
    assert isinstance(module, Sgctr)
    assert all(torch.equal(value, module.base.state_dict()[name]) for name, value in base.state_dict().items())
    assert run.metrics["test"]["base_auc"] == DGENCTR.measure(base, predict, data().test)["auc"]
    (needed,) = SYSTEM.upstream(config_of())
    assert (needed.system, DGENCTR.config(**needed.config)) == ("dgenctr", SMALL)


def test_the_loss_of_a_threshold_is_least_at_the_percentile() -> None:
    cosines = torch.rand(1, 4000, 1, generator=torch.Generator().manual_seed(0))
    losses = {one: float(pinball(cosines, torch.tensor([[one]]), 0.2)) for one in (0.1, 0.15, 0.2, 0.25, 0.3)}
    assert min(losses, key=losses.__getitem__) == 0.2


def test_a_choice_does_not_jump_where_cosines_are_rounded_otherwise() -> None:
    module = mending()
    with torch.no_grad():
        x = rows_of(data().test)
        first = module.base.embedding(x)
        consistency = module.consistency(module.base.denoiser.states(first), first)
        tied = consistency.clone()
        tied[:, 2] = tied[:, 3]
        for rows in (consistency, tied):
            other = rows + 1e-6 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
            assert (module.lowest(rows, 3) - module.lowest(other, 3)).abs().max() < 1e-5 / RAMP
            assert (module.doubt(rows) - module.doubt(other)).abs().max() < 1e-5 / RAMP
    assert torch.equal(module.lowest(tied, 3)[:, 2], module.lowest(tied, 3)[:, 3])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that clients ask."""
    repository = tmp_path_factory.mktemp("repository")
    release = SYSTEM.release(around(untrained(layers=1)), config_of(), data())
    assert [one.name for one in release] == ["sgctr_rounds", "sgctr"]
    publish(repository, release[-1:], Source(kind="run", name="sgctr"))
    return repository / "sgctr"


def test_the_served_graph_answers_at_the_edges_of_ids_and_lengths(published: Path) -> None:
    model = DirectModel.open(published)
    check_edges(model, NUM_USERS, NUM_ITEMS)
    check_negatives(model, request(1, [3, 4, 5]), 1)


def test_serving_masks_with_the_vectors_and_heads_of_training(published: Path) -> None:
    """And takes only the doubtful rows through the rounds, in the graph too."""
    base = untrained(layers=1)
    module = around(base)
    assert module.base.generator is base.denoiser
    own = {id(one) for one in base.parameters()} | {id(module.thresholds)}
    assert {id(one) for one in module.parameters()} == own
    graph = onnx.load(published / "1" / "model.onnx").graph
    held = {numpy_helper.to_array(one).tobytes() for one in graph.initializer}
    assert base.denoiser.field_heads.detach().numpy().tobytes() in held
    kinds = [node.op_type for node in graph.node]
    assert "NonZero" in kinds
    assert not [one for one in kinds if one.startswith(("Random", "Bernoulli", "Multinomial"))]


def test_answers_are_those_of_the_module() -> None:
    split = damaged(2)
    found = predict(Answers(mending()), split)
    np.testing.assert_allclose(found[:, 1], predict(mending(), split), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 0], predict(mending().base, split), rtol=1e-5, atol=1e-5)
    assert (found[:, 3:] >= 0).all()


@pytest.mark.parametrize("changes", [{"rounds": -1}, {"masked": 0.0}, {"quantile": 1.0}, {"pretraining": "none"}])
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rounds|masked|quantile|pretraining"):
        config_of(**changes)


def test_before_its_generator_is_there_it_has_first_weights() -> None:
    torch.manual_seed(0)
    module = SYSTEM.build(config_of(), data().schema)
    prepare(module, data())
    assert isinstance(module, Sgctr)
    x = features(5)
    assert torch.equal(module.eval().logits(x), module.base.logits(x)), "thresholds are open"
    assert isinstance(pretrained(), FieldGenerator)
