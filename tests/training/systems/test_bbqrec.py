"""BBQRec's re-weighting: what is alike, what its table does, and that true codes gain what permuted ones lose."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.run_alone import open_session
from tests.training.systems.bbqrec_models import SMALL, model, planted, told_by_signs
from training.baselines import sasrec
from training.baselines.tiger import CODEBOOKS
from training.data.sequences import SequenceData
from training.fit import FitOptions, fit
from training.layers.transformer import EncoderBlock
from training.loop import predict
from training.systems.bbqrec import GPU, SYSTEM, BBQRec, Config
from training.systems.bbqrec.codes import SHAPES, item_codes
from training.systems.bbqrec.model import together
from training.systems.bbqrec.similarity import Cosines, SharedPrefix, in_steps

ITEMS = torch.tensor([[1, 7, 13, 2, 1, 0], [60, 59, 58, 7, 10**9, -1]])


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return planted()


def test_the_bucket_is_the_length_of_the_common_prefix_and_0_beside_itself_the_unknown_and_what_has_no_code() -> None:
    similarity = SharedPrefix(6, 2, 3)
    codes = torch.tensor([[4, 4, 4], [4, 4, 4], [4, 4, 5], [4, 9, 4], [8, 4, 4], [-1, -1, -1]], dtype=torch.int32)
    similarity.codes.copy_(torch.stack([codes, codes.flip(1)], dim=1))
    items = torch.tensor([[1, 2, 3, 4, 5, 1, 0, 99]])
    first, second = similarity(items, items)
    assert first[0].tolist() == [
        [0, 2, 1, 0, 0, 0, 0, 0],
        [2, 0, 1, 0, 0, 2, 0, 0],
        [1, 1, 0, 0, 0, 1, 0, 0],
        *[[0] * 8] * 2,
        [0, 2, 1, 0, 0, 0, 0, 0],
        *[[0] * 8] * 2,
    ]
    assert second[0, 0].tolist() == [0, 0, 1, 2, 0, 0, 0, 0]
    similarity.codes[2, 0], similarity.codes[3, 0] = codes[5], codes[5]
    assert not similarity(items, items)[0][0, 1].any(), "two items without codes are not alike"


def test_cosines_fall_into_eighths_whatever_the_order_of_the_sum() -> None:
    random = torch.Generator().manual_seed(0)
    vectors = in_steps(torch.randn(40, 1, 32, generator=random))
    vectors[2], vectors[3] = vectors[1], -vectors[1]
    similarity = Cosines(40, 1, 32)
    similarity.vectors.copy_(vectors)
    items = torch.arange(1, 40)[None]
    (found,) = similarity(items, items)
    whole = vectors[:, 0].long()
    exact = (whole @ whole.T)[1:, 1:] * 8 // 127**2
    expected = exact.clamp(0, 7).fill_diagonal_(0)
    assert torch.equal(found[0], expected)
    assert found[0, 0, 1:3].tolist() == [7, 0]
    order = torch.randperm(32, generator=random)
    similarity.vectors.copy_(vectors[:, :, order])
    assert torch.equal(similarity(items, items)[0], found)
    assert torch.equal(similarity.double()(items, items)[0], found)


def test_the_table_starts_at_0_and_a_frozen_one_trains_the_bits_of_sasrec(data: SequenceData, tmp_path: Path) -> None:
    config = replace(SMALL, epochs=2, dropout=0.2, table="zero")
    plain = sasrec.Config(**{name: getattr(config, name) for name in sasrec.Config.__dataclass_fields__})
    ours = fit(SYSTEM, config, data, FitOptions(run=tmp_path / "ours", quiet=True))
    theirs = fit(sasrec.SYSTEM, plain, data, FitOptions(run=tmp_path / "theirs", quiet=True))
    held = ours.module.state_dict()
    assert not held["table"].any()
    assert all(torch.equal(held[name], value) for name, value in theirs.module.state_dict().items())
    learnt = fit(SYSTEM, replace(config, table="learnt"), data, FitOptions(run=tmp_path / "learnt", quiet=True))
    assert learnt.module.get_parameter("table").any()
    assert not torch.equal(learnt.module.state_dict()["items.weight"], held["items.weight"])


def test_a_constant_for_a_head_changes_nothing_and_sources_may_change_places(data: SequenceData) -> None:
    module = model(data)
    assert not torch.allclose(module.states(ITEMS), with_table(module, torch.zeros_like(module.table)), atol=1e-3)
    constant = torch.randn(2, 1, 1, 2).expand(module.table.shape)
    nothing = with_table(module, torch.zeros_like(module.table))
    torch.testing.assert_close(with_table(module, constant), nothing, atol=1e-5, rtol=1e-5)
    table = torch.randn(2, 3, 4, 2)
    bias = together(table[0]).view(4, 4, 4, 2)
    turned = together(table[0].flip(0)).view(4, 4, 4, 2)
    torch.testing.assert_close(turned, bias.permute(2, 1, 0, 3))


def with_table(module: BBQRec, table: Tensor) -> Tensor:
    kept = module.table.detach().clone()
    with torch.no_grad():
        module.table.copy_(table)
        states = module.states(ITEMS)
        module.table.copy_(kept)
    return states


def test_a_higher_entry_for_long_prefixes_moves_attention_to_items_that_are_alike(data: SequenceData) -> None:
    module, masses = model(data), []
    items = torch.tensor([[1, 8, 7, 9, 13, 10, 19]])
    (alike,) = module.similarity(items, items)
    for height in (-2.0, 0.0, 1.0, 3.0):
        with torch.no_grad():
            module.table.zero_()
            module.table[0, :, 1:] = height
            bent, plain = module.attention(items)[0]
        masses.append(float((bent * (alike > 0)[:, None]).sum()))
        assert torch.equal(bent, plain) == (height == 0.0)
    assert masses == sorted(masses)
    assert masses[0] < 0.7 * masses[-1]


def test_what_is_added_is_the_sum_of_the_entries_of_all_sources(data: SequenceData) -> None:
    six = {"codes": torch.randint(3, (61, 6)), "weights": torch.ones(61, 6)}
    module = model(replace(data, given=six), ids="mmq")
    buckets = module.similarity(ITEMS, ITEMS)
    for block, added in enumerate(module.leanings(ITEMS)):
        expected = sum(module.table[block, source, one].permute(0, 3, 1, 2) for source, one in enumerate(buckets))
        torch.testing.assert_close(added, expected)


def test_the_attention_that_is_told_is_the_one_that_is_used(data: SequenceData) -> None:
    module, seen = model(data), []
    last = module.blocks[1]
    assert isinstance(last, EncoderBlock)
    last.attention.query.register_forward_hook(lambda _module, _args, output: seen.append(output))
    module.states(ITEMS)
    module.attention(ITEMS)
    assert len(seen) == 3, "of the states, then told, then on to the next block"
    assert torch.equal(seen[0], seen[1])


class Leanings(nn.Module):
    def __init__(self, module: BBQRec) -> None:
        super().__init__()
        self.module = module

    def forward(self, items: Tensor) -> Tensor:
        return torch.stack(self.module.leanings(items))


@pytest.mark.parametrize("ids", ["rqvae", "mmq"])
def test_what_a_graph_adds_to_the_logits_has_the_bits_of_torch(ids: str, data: SequenceData, tmp_path: Path) -> None:
    given = {"codes": torch.randint(3, (61, 6)), "weights": torch.ones(61, 6)} if ids == "mmq" else data.given
    module = Leanings(model(replace(data, given=given), ids=ids)).eval()
    path = tmp_path / "model.onnx"
    torch.onnx.export(module, (ITEMS,), path, input_names=["items"], output_names=["added"], verbose=False)
    (answer,) = open_session(path).run(["added"], {"items": ITEMS.numpy()})
    expected = module(ITEMS).detach()
    assert expected.unique().numel() > 6
    assert np.array_equal(np.asarray(answer).view(np.int32), expected.numpy().view(np.int32))


def test_shares_of_pairs_are_counted_over_the_pairs_of_a_history(data: SequenceData) -> None:
    module = model(data)
    measured = SYSTEM.measure(module, predict, data.test)
    codes, counts = data.given["codes"].numpy(), Counter()
    for row in range(len(data.test)):
        history = data.test.batch(np.array([row])).items[0].tolist()
        for later in range(len(history)):
            for earlier in range(later):
                same = codes[history[later], :3] == codes[history[earlier], :3]
                counts[int(same.cumprod().sum()) if history[later] != history[earlier] else 0] += 1
    for bucket in range(4):
        assert measured[f"content_{bucket}"] == pytest.approx(counts[bucket] / counts.total())
    assert measured["alike"] == pytest.approx(1 - measured["content_0"])
    assert 0.5 < measured["alike"] < 1


def test_permuted_codes_are_as_many_of_each_on_other_items_in_every_run(data: SequenceData) -> None:
    true, permuted, again = (model(data, codes=codes).similarity.table() for codes in ("true", "permuted", "permuted"))
    assert torch.equal(permuted, again)
    assert (true[1:] != permuted[1:]).any(dim=(1, 2)).float().mean() > 0.8
    assert torch.equal(true[0], permuted[0])
    rows = [sorted(map(tuple, table.flatten(1).tolist())) for table in (true, permuted)]
    assert rows[0] == rows[1]


@pytest.mark.long
def test_true_codes_gain_what_permuted_codes_and_a_frozen_table_do_not(tmp_path: Path) -> None:
    data, found = told_by_signs(), {}
    config = replace(SMALL, layers=1, dim=32, epochs=14, learning_rate=1e-2, table_rate=0.2, patience=None)
    for name, changed in {"true": {}, "zero": {"table": "zero"}, "permuted": {"codes": "permuted"}}.items():
        result = fit(SYSTEM, replace(config, **changed), data, FitOptions(run=tmp_path / name, quiet=True))
        found[name] = result.metrics["validation"]["ndcg10"]
    assert found["true"] > 1.25 * max(found["zero"], found["permuted"]), found


def test_codes_come_from_a_run_or_are_published_with_the_data(data: SequenceData) -> None:
    assert item_codes("rqvae", data).shape == (61, 1, 3), "what tells collisions apart is no code"
    assert item_codes("rqvae", data)[5, 0].tolist() == data.given["codes"][5, :3].tolist()
    assert (item_codes("rqvae", data)[0] == -1).all()
    six = replace(data, given={"codes": torch.randint(9, (61, 6)), "weights": torch.ones(61, 6)})
    assert item_codes("mmq", six).shape == (61, 6, 1), "codebooks side by side are sources of one level"
    published = np.random.default_rng(0).integers(9, size=(61, 4))
    foreign = replace(data, given={}, interactions=replace(data.interactions, others={"letter": published}))
    assert item_codes("letter", foreign)[1:, 0].tolist() == published[1:].tolist()
    sources = replace(data, given={**data.given, "sources": torch.full((61, 3, 3), 2)})
    assert item_codes("bbq", sources).shape == (61, 3, 3)
    with pytest.raises(ValueError, match="has no semantic ids 'letter'"):
        item_codes("letter", replace(data, given={}))
    with pytest.raises(ValueError, match="9 of each item are wanted"):
        item_codes("bbq", data)
    with pytest.raises(ValueError, match="train the tokenizer 'bbq'"):
        model(data, ids="bbq", similarity="cosine")


def test_the_run_for_an_accelerator_starts(data: SequenceData) -> None:
    made = replace(data, given={"sources": torch.randint(9, (61, 3, 3)), **data.given})
    module = BBQRec(GPU, data.schema)
    module.prepare(made)
    module.loss(data.train.batch(np.arange(2)), 0.0)[0].backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert module.table.shape == (4, 3, 4, 4)


def test_the_shape_of_codes_is_that_of_each_tokenizer_with_its_defaults() -> None:
    sizes = {ids: len(shape.sources) * shape.levels for ids, shape in SHAPES.items()}
    for ids in ("mpq", "mmq", "mmq2", "letter"):
        assert sizes[ids] == CODEBOOKS[ids].codebooks
    assert sizes["rqvae"] == CODEBOOKS["rqvae"].codebooks - 1
    assert sizes["bbq"] == 3 * (CODEBOOKS["bbq"].codebooks - 1)


def test_what_only_bbq_has_is_refused_for_other_ids() -> None:
    with pytest.raises(ValueError, match="books is separate, which only the ids 'bbq' have, not 'letter'"):
        Config(ids="letter", books="separate")
    with pytest.raises(ValueError, match="similarity is cosine"):
        Config(ids="rqvae", similarity="cosine")
    assert [one.config for one in SYSTEM.upstream(Config(books="separate"))] == [{"books": "separate"}]
    assert SYSTEM.upstream(Config(ids="letter")) == ()
    assert SYSTEM.variant(Config(ids="letter", codes="permuted")) == "letter-permuted"
