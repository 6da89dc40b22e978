"""HeterRec's network: tokens, masks, both levels, item tower, and what its controls have the same."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.training.systems.heterrec_models import SMALL, by_hand, data, model
from training.systems import heterrec
from training.systems.heterrec import Config, HeterRec
from training.systems.heterrec.model import trained_sequences

HISTORY = torch.tensor([[4, 7, 9, 2]])


def tokens_of(module: HeterRec, items: torch.Tensor) -> torch.Tensor:
    return module.tables()[0][items]


def test_an_item_is_a_token_for_each_thing_that_is_known_of_it_with_the_id_last() -> None:
    module = model()
    assert module.names == ("category", "text", "graph", "item_id")
    tokens, vectors = module.tables()
    fields = module.sides.fields
    assert fields is not None
    text, graph = (torch.from_numpy(part[7]) for part in (data().content.text, data().content.graph))
    expected = [
        fields.rows.weight[data().categories[7]],
        module.sides.layers[0](text),
        module.sides.layers[1](graph),
        module.ids.weight[7],
    ]
    torch.testing.assert_close(tokens[7], torch.stack(expected) + module.types)
    tower = module.of_item(tokens[7].flatten())
    torch.testing.assert_close(vectors[7], tower / tower.norm())


@pytest.mark.parametrize("mask", ["strict", "block"])
@pytest.mark.parametrize(("token_layers", "item_layers"), [(1, 1), (2, 0), (0, 2)])
def test_states_are_those_of_both_levels_written_out(mask: str, token_layers: int, item_layers: int) -> None:
    module = model(Config(**{**vars(SMALL), "mask": mask, "token_layers": token_layers, "item_layers": item_layers}))
    tokens = tokens_of(module, HISTORY)
    torch.testing.assert_close(module.encode(tokens)[0], by_hand(module, tokens[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask", ["strict", "block"])
def test_a_state_knows_nothing_of_later_items_and_a_prefix_gives_the_same(mask: str) -> None:
    module = model(Config(**{**vars(SMALL), "mask": mask}))
    one, other = module.encode(tokens_of(module, torch.tensor([[4, 7, 9, 2], [4, 7, 30, 31]])))
    assert torch.equal(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2], atol=1e-3)
    torch.testing.assert_close(module.encode(tokens_of(module, HISTORY[:, :3]))[0], one[:3], atol=1e-6, rtol=1e-5)


def test_the_order_of_the_tokens_of_an_item_counts_where_a_token_sees_the_earlier_ones_alone() -> None:
    """Tokens and the layer that merges them change places alike."""
    order = torch.tensor([2, 0, 3, 1])
    for mask, matters in (("strict", True), ("block", False)):
        module = model(Config(**{**vars(SMALL), "mask": mask}))
        tokens = tokens_of(module, HISTORY)
        before = module.encode(tokens)
        with torch.no_grad():
            weight = module.merge.weight.unflatten(1, (4, -1))[:, order].flatten(1)
            module.merge.weight.copy_(weight)
        after = module.encode(tokens[:, :, order])
        assert torch.allclose(before, after, atol=1e-5) != matters
        assert not torch.allclose(after, module.encode(tokens), atol=1e-3)


def test_a_token_sees_the_later_ones_of_its_item_only_in_blocks() -> None:
    """The first token of the last item, with no level above that could tell."""
    for mask, seen in (("strict", False), ("block", True)):
        module = model(Config(**{**vars(SMALL), "mask": mask}))
        x = torch.randn(1, 8, SMALL.dim)
        changed = x.clone()
        changed[0, 7] = torch.randn(SMALL.dim)
        block = module.token_blocks[0]
        before, after = (block(one, module.token_bias(one))[0] for one in (x, changed))
        assert torch.equal(before[:4], after[:4])
        assert torch.allclose(before[4], after[4]) != seen


def test_a_stack_over_items_has_as_many_parameters_as_both_levels() -> None:
    for layers in (2, 4, 8):
        both = Config(**{**vars(SMALL), "token_layers": layers // 2, "item_layers": layers // 2})
        items = replace(both, token_layers=0, item_layers=layers)
        counts = [sum(one.numel() for one in model(config).parameters()) for config in (both, items)]
        assert counts[0] == counts[1]
        block = 12 * SMALL.dim**2 + 13 * SMALL.dim
        assert counts[0] == sum(one.numel() for one in model().parameters()) + (layers - 2) * block


def test_a_set_with_neither_fields_nor_content_leaves_one_token() -> None:
    bare = replace(data().interactions, load_content=None)
    fields = tuple(field for field in bare.schema.fields if field.name != "category")
    schema = replace(bare.schema, fields=fields)
    module = model(view=replace(data(), interactions=replace(bare, schema=schema), schema=schema))
    assert module.names == ("item_id",)
    assert module.encode(tokens_of(module, HISTORY)).shape == (1, 4, SMALL.dim)


def test_the_list_is_the_catalogue_by_the_cosine_with_the_newest_state() -> None:
    module = model()
    found = module.best(torch.tensor([[4, 7, 9], [30, 0, 0]]), torch.tensor([3, 1]), 60)
    tokens, vectors = module.tables()
    for row, history in enumerate(([4, 7, 9], [30])):
        scores = by_hand(module, tokens[torch.tensor(history)])[-1] @ vectors.T / SMALL.temperature
        order = [item for item in scores.argsort(descending=True).tolist() if item not in (0, *history)]
        assert found.items[row, : len(order)].tolist() == order


def test_a_new_model_reads_and_finds_an_item_as_the_sum_of_its_tokens() -> None:
    module = HeterRec(SMALL, data().schema)
    tokens = torch.randn(3, 4, SMALL.dim)
    torch.testing.assert_close(module.vectors(tokens), torch.nn.functional.normalize(tokens.sum(1), dim=1))
    torch.testing.assert_close(module.merged(tokens[None])[0], module.token_norm(tokens).sum(1))
    torch.testing.assert_close(module.of_user(tokens), tokens)


def test_windows_of_training_hold_what_trains_and_nothing_that_is_held_out() -> None:
    found = trained_sequences(data())
    assert len(found) == len(data().train)
    assert [one.tolist() for one in found[:20]] == [one[:-2].tolist() for one in data().sequences[:20]]


def test_numbers_that_make_no_model_are_refused() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"token_layers": 0, "item_layers": 0}, "at least one block"),
        ({"steps": 0}, r"steps \(0\) must be at least 1"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"unknown_rate": 0.0}, "unknown_rate is 0.0"),
    )
    for wrong, said in cases:
        with pytest.raises(ValueError, match=said):
            Config(**wrong)


def test_variants_have_names_of_their_own() -> None:
    named = {
        "": Config(),
        "k3": Config(steps=3),
        "k3-independent": Config(steps=3, order="independent"),
        "k3-gamma0.5": Config(steps=3, gamma=0.5),
        "block": Config(mask="block"),
        "items2": Config(token_layers=0, item_layers=2),
        "tokens2-items2": Config(token_layers=2, item_layers=2),
        "k5-items8": Config(steps=5, token_layers=0, item_layers=8),
    }
    assert {heterrec.variant(config): config for config in named.values()} == named
