"""The checks that show that SFPNet is real: behaviours move each in its own way, gates, distribution, two graphs."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.click_views import everything, view_of
from tests.training.data.test_scenario import of_items
from training.baselines import din, pepnet
from training.data.click import ClickBatch, ClickData
from training.data.planted_scenarios import planted_halves
from training.fit import FitOptions, fit
from training.interactions import Interactions
from training.layers.activation import local_activation
from training.layers.scenarios import Gate, masked_mean
from training.system import System, prepare
from training.systems.sfpnet import SYSTEM, Config, SFPNet
from training.systems.sfpnet.model import Block, Tailored, distribution

SMALL = Config(dim=8, hidden=(8, 4), dropout=0.0, max_length=48)
SIZES = {
    "dim": 16,
    "hidden": (32, 16),
    "max_length": 48,
    "batch_size": 128,
    "epochs": 8,
    "learning_rate": 5e-3,
    "dropout": 0.0,
}


@cache
def data() -> ClickData:
    return view_of(SYSTEM, planted_halves(num_users=90, num_events=48), 48)


def model(config: Config = SMALL, *, near_zero: bool = False) -> SFPNet:
    """Untrained; with weights far from their first ones, but where these matter."""
    torch.manual_seed(0)
    module = SYSTEM.build(config, data().schema)
    prepare(module, data())
    for parameter in () if near_zero else module.parameters():
        nn.init.normal_(parameter, std=0.4)
    assert isinstance(module, SFPNet)
    return module.eval()


def batch(count: int = 40) -> ClickBatch:
    return data().test.batch(np.arange(count))


def tailored(module: SFPNet, given: ClickBatch, scenario: int) -> torch.Tensor:
    with torch.no_grad():
        return module.tailor(module.tables.look_up(given), torch.full_like(given.scenario, scenario)).history


def test_another_scenario_moves_each_behaviour_in_its_own_way_and_the_control_moves_all_alike() -> None:
    """Before the last norm."""
    given, alike = batch(), {}
    for tailoring in ("residual", "additive"):
        module = model(Config(**{**vars(SMALL), "tailoring": tailoring, "blocks": 1}))
        module.blocks[0].norm = nn.Identity()
        moved = tailored(module, given, 2) - tailored(module, given, 3)
        first = moved[:, :1].expand_as(moved)
        inside = (torch.arange(moved.shape[1]) < given.history_length[:, None]) & (moved[:, 0].norm(dim=1) > 0)[:, None]
        alike[tailoring] = torch.cosine_similarity(moved, first, dim=2)[inside]
        lengths = (moved.norm(dim=2) / first.norm(dim=2))[inside]
        assert (lengths.std() > 0.1) == (tailoring == "residual")
    assert alike["residual"].quantile(0.1) < 0.95
    assert alike["additive"].min() > 0.999


def test_the_distribution_is_mean_and_deviation_of_the_behaviours_that_there_are() -> None:
    torch.manual_seed(0)
    history, mask = torch.randn(3, 5, 4), torch.tensor([[1.0] * 5, [1, 1, 1, 0, 0], [0] * 5])
    found = distribution(history, mask).numpy()
    for row, length in enumerate((5, 3)):
        own = history[row, :length].numpy()
        np.testing.assert_allclose(found[row], np.concatenate([own.mean(0), own.std(0)]), atol=1e-4)
    np.testing.assert_allclose(found[2], [0] * 4 + [1e-4] * 4, atol=1e-6)
    same = history[:1, :1].expand(1, 5, 4).clone().requires_grad_()
    flat = distribution(same, torch.ones(1, 5))
    assert flat[0, 4:].max() < 1e-2
    flat.sum().backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


@torch.no_grad()
def test_behaviours_of_one_mean_and_another_spread_are_gated_and_moved_otherwise() -> None:
    module, given = model(), batch()
    embedded = module.tables.look_up(given)
    mean = masked_mean(embedded.history, embedded.mask)[:, None]
    wide = embedded._replace(history=3 * embedded.history - 2 * mean)
    means, deviations = zip(
        *(distribution(one.history, one.mask).chunk(2, dim=1) for one in (embedded, wide)), strict=True
    )
    torch.testing.assert_close(*means, atol=1e-5, rtol=1e-4)
    assert not torch.isclose(*deviations).any()
    block, scene = module.blocks[0], module.scenes(given.scenario)
    assert isinstance(block, Block)
    # What it adds then follows from the context alone.
    nn.init.zeros_(block.get_submodule("of_behaviour").get_parameter("weight"))
    module.blocks[0].norm = nn.Identity()
    nothing = given.label[:, None][:, :0]
    answers = []
    for one in (embedded, wide):
        found = block(Tailored(one.history, one.profile, torch.zeros_like(one.mask), nothing), one.mask, scene, nothing)
        answers.append((found.gates, found.history - one.history))
    (gates, added), (other_gates, other_added) = answers
    torch.testing.assert_close(gates[:, 0], other_gates[:, 0])
    assert not torch.isclose(gates[:, 1], other_gates[:, 1]).any()
    assert not torch.isclose(added, other_added, atol=1e-4).all(dim=2).any()


def test_a_fresh_block_is_a_norm_and_the_whole_is_target_attention_over_it() -> None:
    module, given = model(near_zero=True), batch()
    embedded = module.tables.look_up(given)
    with torch.no_grad():
        module.scenes.weight.zero_()
        expected = embedded.history
        for norm in (module.norm, *(block.get_submodule("norm") for block in module.blocks)):
            expected = norm(expected)
        torch.testing.assert_close(tailored(module, given, 2), expected)
        events, target = expected, embedded.target
        units = [
            module.of_event(events) + module.of_target(target)[:, None] + module.of_product(events * target[:, None])
        ]
        weights = module.weight(nn.functional.silu(units[0])).squeeze(-1)
        interest = local_activation(weights, events, embedded.mask)
        torch.testing.assert_close(
            module(given), module.tower(interest, target, embedded.profile), rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_without_gates_scenes_norms_and_what_blocks_add_it_is_din_bit_for_bit() -> None:
    """The norms of the behaviours are ours, beside what the paper's blocks would leave of DIN; they are out here."""
    module, given = model(), batch()
    for gate in (one for one in module.modules() if isinstance(one, Gate)):
        for parameter in gate.second.parameters():
            parameter.zero_()
    module.scenes.weight.zero_()
    module.add_module("norm", nn.Identity())
    for block in module.blocks:
        assert isinstance(block, Block)
        block.out.weight.zero_()
        block.add_module("norm", nn.Identity())
    other = din.SYSTEM.build(din.Config(dim=8, hidden=(8, 4), dropout=0.0, max_length=48), data().schema).eval()
    own = {name: tensor for name, tensor in module.state_dict().items() if name in other.state_dict()}
    other.load_state_dict(own)
    assert torch.equal(module(given), other(given))
    moved = module.item_gates[0]
    assert isinstance(moved, Gate)
    moved.second.bias.fill_(0.5)
    assert not torch.isclose(module(given), other(given)).all()


def test_gates_lie_between_0_and_2_and_depend_on_the_scenario() -> None:
    module, given = model(), batch()
    gates = [
        module.tailor(module.tables.look_up(given), torch.full_like(given.scenario, one)).gates for one in (1, 2, 3)
    ]
    assert gates[0].shape == (40, 4)
    assert all(0 < float(one.min()) and float(one.max()) < 2 for one in gates)
    assert not torch.isclose(gates[0], gates[1]).all()


@pytest.mark.parametrize("item_in_context", [False, True])
def test_each_block_gates_the_user_the_pooled_behaviours_and_the_candidate(*, item_in_context: bool) -> None:
    module, given = model(replace(SMALL, item_in_context=item_in_context)), batch()
    embedded, scene = module.tables.look_up(given), module.scenes(given.scenario)
    user, target = embedded.profile, embedded.target
    history, moved = module.norm(embedded.history), torch.zeros_like(embedded.mask)
    for block, gate in zip(module.blocks, module.item_gates, strict=True):
        assert isinstance(block, Block)
        pooled = block.of_pooled(scene, distribution(history, embedded.mask))
        user, target = block.of_user(scene, user), gate(scene, target)
        parts = [user, pooled, target] if item_in_context else [user, pooled]
        context = torch.relu(block.context(torch.cat(parts, dim=1)))
        assert block.of_behaviour is not None
        inner = torch.relu(block.of_behaviour(history) + block.of_context(context)[:, None])
        moved = moved + block.out(inner).norm(dim=2) * embedded.mask
        history = block.norm(history + block.out(inner))
    found = module.tailor(embedded, given.scenario)
    torch.testing.assert_close(found.moved, moved)
    torch.testing.assert_close(found.user, user)
    torch.testing.assert_close(found.history, history)
    interest = module.interest(history, embedded.mask, target)
    torch.testing.assert_close(module(given), module.tower(interest, target, user + scene))


def test_the_order_of_behaviours_does_not_matter_nor_does_what_lies_beyond_them() -> None:
    module, given = model(), batch()
    order = torch.arange(given.history_items.shape[1]).expand(40, -1).clone()
    for row, length in enumerate(given.history_length.tolist()):
        order[row, :length] = torch.randperm(length)
    turned = given._replace(
        history_items=given.history_items.gather(1, order), history_values=given.history_values.gather(1, order)
    )
    first = tailored(module, given, 2)
    torch.testing.assert_close(
        tailored(module, turned, 2), first.gather(1, order[..., None].expand_as(first)), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(module(turned), module(given), atol=1e-5, rtol=1e-4)
    none = given._replace(history_length=torch.zeros_like(given.history_length))
    assert module(none).isfinite().all()
    dirty = none._replace(history_items=none.history_items.roll(1, 0))
    torch.testing.assert_close(module(none), module(dirty))


def test_blocks_see_the_candidate_only_where_they_are_told_to() -> None:
    given = batch()
    other = given._replace(item=given.item.roll(1))
    assert torch.equal(tailored(model(), given, 2), tailored(model(), other, 2))
    seeing = model(replace(SMALL, item_in_context=True))
    assert not torch.isclose(tailored(seeing, given, 2), tailored(seeing, other, 2)).all()


@pytest.mark.parametrize("which", [everything, of_items], ids=["of events", "of items"])
@pytest.mark.parametrize("tailoring", ["residual", "additive"])
def test_two_graphs_answer_as_one(which: Callable[[], Interactions], tailoring: str) -> None:
    config = Config(**{**vars(SMALL), "max_length": 16, "tailoring": tailoring})
    known = view_of(SYSTEM, which(), 16)
    torch.manual_seed(0)
    module = SYSTEM.build(config, known.schema)
    prepare(module, known)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    *parts, whole = SYSTEM.release(module.eval(), config, known)
    assert [one.name for one in (*parts, whole)] == ["sfpnet_history", "sfpnet_scene", "sfpnet_scorer", "sfpnet"]
    scenes = parts[1].outputs[0].shape[0]
    assert scenes == (1 if which is everything else 7)
    assert whole.reference is not None
    assert whole.eager64 is not None
    request = whole.example(7, 3)
    (expected,), (found,) = whole.reference(*request), whole.eager64(*request)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_what_cannot_be_gets_no_score_and_strangers_are_the_unknown() -> None:
    known = view_of(SYSTEM, of_items(), 16)
    config = replace(SMALL, max_length=16)
    torch.manual_seed(0)
    module = SYSTEM.build(config, known.schema)
    prepare(module, known)
    parts = {one.name: one for one in SYSTEM.release(module.eval(), config, known)}
    candidates, ends, tailored, person, length = parts["sfpnet_scorer"].example(4, 0)
    score = parts["sfpnet_scorer"].eager
    zero, stranger, negative = (torch.full_like(candidates, value) for value in (0, 2**40, -1))
    answers = [score(one, ends, tailored, person, length)[0] for one in (zero, stranger, negative)]
    assert torch.equal(answers[0], answers[1])
    assert answers[0].isfinite().all()
    assert answers[2].isnan().all()
    assert score(candidates[:0], torch.zeros_like(ends), tailored, person, length)[0].shape == (0,)
    scene = parts["sfpnet_scene"]
    named = dict(zip((spec.name for spec in scene.inputs), scene.example(4, 0), strict=True))
    named["history_length"] = torch.tensor([[3], [17], [-1], [0]])
    found = scene.eager(*named.values())[1]
    assert [bool(one.isnan().all()) for one in found] == [False, True, True, False]
    assert found[[0, 3]].isfinite().all()


def test_where_blocks_see_the_candidate_there_is_one_graph_alone() -> None:
    config = replace(SMALL, item_in_context=True)
    names = [one.name for one in SYSTEM.release(model(config), config, data())]
    assert names == ["sfpnet_history", "sfpnet_scorer", "sfpnet"]
    assert SYSTEM.variant(config) == "item"
    with pytest.raises(ValueError, match="blocks is -1"):
        Config(blocks=-1)


def auc_by_place(system: System, **changed: object) -> float:
    """Mean AUC of the four scenarios, each with its own half."""
    with tempfile.TemporaryDirectory() as folder:
        config = system.config(**SIZES, **changed)
        measured = fit(system, config, data(), FitOptions(run=Path(folder) / "run", quiet=True)).metrics["test"]
    return float(np.mean([measured[f"auc place={one}"] for one in ("upper", "lower", "left", "right")]))


@pytest.mark.long
def test_where_the_scenario_decides_which_half_counts_it_beats_pooling_before_the_gate_and_one_shift_for_all() -> None:
    fine, pooled, additive = (
        auc_by_place(SYSTEM),
        auc_by_place(pepnet.SYSTEM),
        auc_by_place(SYSTEM, tailoring="additive"),
    )
    assert fine > pooled + 0.08
    assert fine > additive + 0.02
