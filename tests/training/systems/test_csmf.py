"""CSMF: what an objective answers stays the same to the bit while others are trained, and what that costs and gives."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.systems.csmf_models import NAMES, QUICK, conflicting, data, fresh, trained
from training.baselines import two_tower
from training.data.retrieval import RetrievalBatch
from training.layers.objective_weights import weigh
from training.loop import predict
from training.system import Wanted, prepare
from training.systems.csmf import CSMF, SYSTEM
from training.systems.csmf.cascaded import Cascaded
from training.systems.csmf.config import Way, variant
from training.systems.csmf.controls import Narrow
from training.systems.csmf.stages import asked
from training.tasks.retrieval import RETRIEVAL

RECALL = [asked("recall50", name) for name in NAMES]


def batch() -> RetrievalBatch:
    return data().test.batch(np.arange(len(data().test)))


@torch.no_grad()
def vectors(module: Cascaded, *alpha: float) -> tuple[Tensor, Tensor]:
    """Of users who ask with these weights, and of items."""
    return weigh(module, module.users(batch()), torch.tensor([alpha])), module.items()


def whole() -> CSMF:
    module = trained().module
    assert isinstance(module, CSMF)
    return module


def parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


@pytest.mark.long
def test_vectors_and_scores_of_exposure_are_the_same_bits_after_all_stages() -> None:
    early, late = trained().at(2), trained().module
    exposure = (cast(CSMF, early).output_owner == 0).nonzero()[:, 0]
    (user, item), (user_late, item_late) = (vectors(one, 1, 0, 0) for one in (early, late))
    assert torch.equal(user, user_late)
    assert torch.equal(item[:, exposure], item_late[:, exposure])
    assert not torch.equal(item, item_late), "the others were trained"
    assert torch.equal(user @ item.T, user_late @ item_late.T)


def test_figures_of_an_objective_are_the_same_in_every_later_stage() -> None:
    test = trained().test
    assert [*test] == ["seen", "seen, recovered", "clicked", "clicked, recovered", ""]
    for metric in ("recall50", "ndcg50"):
        later = {
            test[stage][asked(metric, "seen")] for stage in ("seen, recovered", "clicked", "clicked, recovered", "")
        }
        assert len(later) == 1
        assert test["clicked, recovered"][asked(metric, "clicked")] == test[""][asked(metric, "clicked")]


def test_what_is_frozen_does_not_move_in_spite_of_a_decay() -> None:
    assert QUICK.weight_decay > 0
    early, late = trained().at(2), trained().module
    before, after = early.state_dict(), late.state_dict()
    moved = {
        name
        for name, value in before.items()
        if name in dict(early.named_parameters()) and not torch.equal(value, after[name])
    }
    assert moved == {f"{tower}_tower.{layer}.weight" for tower in ("user", "item") for layer in (0, 2)}
    for tower in ("user", "item"):
        kept = before[f"{tower}_owner"] == 0
        name = f"{tower}_tower.0.weight"
        assert torch.equal(before[name][kept], after[name][kept])
        rows = before["output_owner"] == 0
        assert torch.equal(before[f"{tower}_tower.2.weight"][rows], after[f"{tower}_tower.2.weight"][rows])


def test_every_weight_has_one_owner_and_every_objective_has_some() -> None:
    module = whole()
    for owner in (module.user_owner, module.item_owner, module.output_owner):
        counts = np.bincount(owner.flatten().numpy(), minlength=3)
        assert (counts > 0).all()
        assert counts.sum() == owner.numel()
    early = cast(CSMF, trained().at(3))
    assert ((module.user_owner > 0) == (early.user_owner > 0)).all(), "what was freed is divided, what was kept is kept"


def test_it_has_as_many_parameters_and_dimensions_as_two_plain_towers() -> None:
    plain = two_tower.TwoTower(two_tower.Config(dim=QUICK.dim, hidden=QUICK.hidden), data().schema)
    assert parameters(whole()) == parameters(plain)
    assert whole().items().shape[1] == plain.items().shape[1] == QUICK.dim
    towers = fresh(replace(QUICK, way="towers"))
    assert towers.items().shape[1] == QUICK.dim


def test_the_score_is_the_weighted_sum_of_the_objectives_and_weights_change_the_list_over_the_same_items() -> None:
    module = whole()
    alone = [vectors(module, *row) for row in np.eye(3).tolist()]
    user, item = vectors(module, 0.5, 2.0, 1.0)
    assert torch.equal(item, alone[0][1])
    summed = sum(weight * users @ item.T for weight, (users, _) in zip((0.5, 2.0, 1.0), alone, strict=True))
    torch.testing.assert_close(user @ item.T, summed, rtol=1e-6, atol=1e-6)
    orders = [torch.argsort(-(users @ item.T), dim=1, stable=True)[:, :10] for users, _ in alone]
    assert not torch.equal(orders[0], orders[1])
    scaled, _ = vectors(module, 8.0, 0, 0)
    assert torch.equal(torch.argsort(-(scaled @ item.T), dim=1, stable=True)[:, :10], orders[0])


def test_recovery_gives_back_some_of_what_pruning_took() -> None:
    module = trained().at(1)
    module.enter(1)
    pruned = SYSTEM.measure(module, predict, data().test)[RECALL[0]]
    before, after = (trained().test[stage][RECALL[0]] for stage in ("seen", "seen, recovered"))
    assert pruned < after < before


@pytest.mark.long
def test_clicks_are_found_better_than_by_exposure_alone_and_naive_tuning_forgets_exposure() -> None:
    masks, naive = trained().test, trained("naive").test
    assert masks["clicked"][RECALL[1]] > masks["seen"]["recall50 of clicked"] + 0.02
    assert naive[""][RECALL[0]] < naive["seen"][RECALL[0]] - 0.2
    assert masks[""][RECALL[0]] > naive[""][RECALL[0]] + 0.2


WAYS: tuple[Way, ...] = ("naive", "mixed", "last", "towers")


def test_controls_are_named_and_go_through_what_they_say() -> None:
    assert [variant(replace(QUICK, way=way)) for way in WAYS] == [*WAYS]
    stages = {way: SYSTEM.stages_of(replace(QUICK, way=way), data().schema) for way in WAYS}
    names = {way: [stage.name for stage in of] for way, of in stages.items()}
    assert names == {"naive": [*NAMES], "mixed": ["all"], "last": ["bought"], "towers": [*NAMES]}
    served = data().train.objectives[:, 0].sum(axis=0).tolist()
    sizes = {way: [len(stage.samples(data())) for stage in of] for way, of in stages.items()}
    assert sizes == {"naive": served, "mixed": [sum(served)], "last": served[-1:], "towers": served}
    plain = parameters(whole())
    for way in ("naive", "mixed", "last"):
        assert parameters(fresh(replace(QUICK, way=way))) == plain


def test_a_tower_of_its_own_moves_alone_and_is_asked_for_alone() -> None:
    module = fresh(replace(QUICK, way="towers"))
    assert isinstance(module, Narrow)
    second = SYSTEM.stages_of(module.config, data().schema)[1]
    second.loss(module, second.samples(data()).batch(np.arange(64)), 0.0)[0].backward()
    moved = {name.split(".")[1] for name, one in module.named_parameters() if one.grad is not None}
    assert moved == {"1"}
    assert {id(one) for one in second.parameters(module)} == {id(one) for one in module.pair(1).parameters()}
    assert module.asked(1) == (0.0, 1.0, 0.0)
    with torch.no_grad():
        blocks = module.users(batch()).split(6, dim=1)
    assert [bool(one.any()) for one in blocks] == [True, True, False], "the third has not had its turn"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_nested_objectives_is_trained(count: int) -> None:
    interactions = conflicting()
    left_out = NAMES[count:]
    fields = tuple(one for one in interactions.schema.fields if one.name not in left_out)
    schema = replace(interactions.schema, fields=fields)
    names = [stage.name for stage in SYSTEM.stages_of(QUICK, schema)]
    assert len(names) == 2 * count - 1
    assert names[-1] == NAMES[count - 1]
    view = RETRIEVAL.view(replace(interactions, schema=schema), Wanted(SYSTEM.reads, 20, {}))
    module = SYSTEM.build(QUICK, schema)
    prepare(module, view)
    for stage in SYSTEM.stages_of(QUICK, schema):
        samples = stage.samples(view)
        loss, _ = stage.loss(module, samples.batch(np.arange(64)), 0.0)
        assert torch.isfinite(loss)
    assert cast(Cascaded, module).objective == count - 1


def test_data_without_objectives_have_one() -> None:
    interactions = conflicting()
    fields = tuple(one for one in interactions.schema.fields if "objective" not in one.uses)
    schema = replace(interactions.schema, fields=fields)
    assert [stage.name for stage in SYSTEM.stages_of(QUICK, schema)] == ["positives"]
    module = SYSTEM.build(QUICK, schema)
    view = RETRIEVAL.view(replace(interactions, schema=schema), Wanted(SYSTEM.reads, 20, {}))
    prepare(module, view)
    measured = SYSTEM.measure(module, predict, view.test)
    assert measured[asked("recall50", "positives")] == measured["recall50"]


def test_objectives_that_are_not_nested_are_refused_in_one_line() -> None:
    interactions = conflicting()
    swapped = interactions.events.rename({"clicked": "bought", "bought": "clicked"})
    view = RETRIEVAL.view(replace(interactions, events=swapped), Wanted(SYSTEM.reads, 20, {}))
    with pytest.raises(ValueError, match="events serve 'bought' and not 'clicked'; order objectives from the widest"):
        prepare(SYSTEM.build(QUICK, view.schema), view)


def test_more_objectives_than_dimensions_are_refused() -> None:
    for way in ("masks", "towers"):
        with pytest.raises(ValueError, match="dim is 2; 3 objectives need as many dimensions"):
            fresh(replace(QUICK, dim=2, way=way))
