"""TIGER: which ids exist, what its beams find, and what it learns."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.walks import wanted
from training.baselines import rqvae, tiger
from training.baselines.tiger import CODEBOOKS, TIGER, Config, build_trie
from training.data.sequences import SequenceData, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.fit import FitOptions, fit
from training.loop import predict
from training.ranking_metrics import ranking_quality
from training.systems import bbqrec, mmq, mmq2, mpq
from training.systems.reg4rec import config as reg4rec
from training.tasks.next_item import Places

SMALL = Config(
    max_length=12, dim=32, encoder_layers=1, dropout=0.1, batch_size=32, epochs=15, learning_rate=5e-3, beams=80
)


@pytest.fixture(scope="module")
def data() -> SequenceData:
    """With ids that say the cluster first; items 1 and 7 share theirs."""
    data = sequences(synthetic_sequences(num_users=300), wanted(SMALL.max_length))
    number = torch.arange(len(data.categories))
    codes = torch.stack([torch.from_numpy(data.categories), number // 6 % 4, number // 24, number * 0], dim=1)
    codes[7] = codes[1]
    return replace(data, given={"codes": codes, "weights": torch.ones(codes.shape)})


@pytest.fixture
def make(data: SequenceData) -> Callable[[Config], TIGER]:
    def made(config: Config) -> TIGER:
        torch.manual_seed(0)
        module = TIGER(config, data.schema)
        module.prepare(data)
        return module.eval()

    return made


def log_likelihood(module: TIGER, items: torch.Tensor, item: int) -> float:
    """Of an item's id after one history, teacher-forced: each word among those that some item has after its prefix."""
    states = module.encoder(items[None])
    codes = module.encoder.tokens_of[1:] % module.shape.words
    target = module.encoder.tokens_of[item][None]
    memory = module.decoder.histories(states, torch.tensor([len(items)]))
    output = module.decoder(states[:, -1:], module.encoder.tokens(target[:, None, :-1]), memory)[0, 0]
    total = 0.0
    for level, word in enumerate((target[0] % module.shape.words).tolist()):
        same = (codes[:, :level] == codes[item - 1, :level]).all(dim=1)
        legal = codes[same, level].unique().tolist()
        logits = module.words()[level][legal] @ output[level]
        total += logits.log_softmax(dim=0)[legal.index(word)].item()
    return total


def test_every_path_through_the_trie_is_an_id_and_ends_in_its_items() -> None:
    codes = torch.tensor([[1, 0, 2], [1, 1, 0], [0, 2, 2], [1, 0, 2], [1, 0, 0]])
    trie = build_trie(codes, 3)
    paths = {}
    for path in np.ndindex(3, 3, 3):
        node = 0
        for level, word in enumerate(path):
            node = int(trie.children[level][node, word]) if node >= 0 else -1
        if node >= 0:
            paths[path] = trie.items[node].tolist()
    assert paths == {(1, 0, 2): [1, 4], (1, 1, 0): [2, 0], (0, 2, 2): [3, 0], (1, 0, 0): [5, 0]}


def test_the_list_is_what_was_found_without_the_history_by_likelihood_and_id(make: Callable[[Config], TIGER]) -> None:
    module, history = make(SMALL), torch.tensor([[3, 9, 15]])
    found, best = module.search(history, torch.tensor([3])), module.best(history, torch.tensor([3]), 60)
    scores = dict(zip(found.items[0].tolist(), found.scores[0].tolist(), strict=True))
    order = sorted((item for item in scores if item not in (0, 3, 9, 15)), key=lambda item: (-scores[item], item))
    assert best.items[0].tolist() == order + [0] * (60 - len(order))
    assert best.scores[0, : len(order)].tolist() == [scores[item] for item in order]
    assert order.index(7) == order.index(1) + 1, "of items that share an id the lower comes first"


def test_beams_wide_enough_find_every_item_in_the_order_of_its_likelihood(make: Callable[[Config], TIGER]) -> None:
    module = make(SMALL)
    history = torch.tensor([3, 9, 15])
    found = module.search(torch.stack([history, torch.tensor([8, 0, 0])]), torch.tensor([3, 1]))
    order = [item for item in found.items[0].tolist() if item]
    likelihoods = {item: log_likelihood(module, history, item) for item in range(1, 61)}
    assert sum(math.exp(value) for value in likelihoods.values()) == pytest.approx(1 + math.exp(likelihoods[7]))
    assert order == sorted(likelihoods, key=lambda item: (-round(likelihoods[item], 5), item))


def test_narrow_beams_find_only_items_and_as_many_ids_as_beams(make: Callable[[Config], TIGER]) -> None:
    module = make(replace(SMALL, beams=5))
    found = module.search(torch.tensor([[3, 9], [60, 1]]), torch.tensor([2, 2]))
    ids = [{tuple(module.encoder.tokens_of[item].tolist()) for item in row if item} for row in found.items.tolist()]
    assert [len(row) for row in ids] == [5, 5]


def test_an_answer_does_not_depend_on_the_batch(make: Callable[[Config], TIGER], data: SequenceData) -> None:
    module = make(SMALL)
    places = Places(module)
    whole = places(data.test.batch(np.arange(8)))
    alone = torch.cat([places(data.test.batch(np.array([row]))) for row in range(8)])
    assert whole.tolist() == alone.tolist()


def test_the_published_figures_are_those_of_the_item_that_each_user_chose_last(
    make: Callable[[Config], TIGER], data: SequenceData
) -> None:
    module = make(SMALL)
    for split, held_out in ((data.validation, 2), (data.test, 1)):
        ranks = []
        for sequence in data.sequences[:15]:
            history, target = sequence[:-held_out].tolist(), int(sequence[-held_out])
            with torch.no_grad():
                found = module.search(torch.tensor([history[-12:]]), torch.tensor([min(12, len(history))]))
            listed = [item for item in found.items[0].tolist() if item and item not in history][:10]
            ranks.append(1.0 + listed.index(target) if target in listed else math.inf)
        with torch.no_grad():
            assert Places(module)(split.batch(np.arange(15))).tolist() == ranks
        assert any(rank < math.inf for rank in ranks)
    found = tiger.SYSTEM.measure(module, predict, data.validation)
    assert found == ranking_quality(predict(Places(module), data.validation))


def test_the_rate_of_dropout_is_the_configuration_s_everywhere(make: Callable[[Config], TIGER]) -> None:
    rates = [one.p for one in make(replace(SMALL, dropout=0.35)).modules() if isinstance(one, torch.nn.Dropout)]
    assert rates == [0.35] * 3


def test_the_loss_is_that_of_every_prefix_alone(make: Callable[[Config], TIGER], data: SequenceData) -> None:
    module = make(SMALL)
    batch = data.train.batch(np.arange(3))
    alone = [
        log_likelihood(module, batch.items[user, : place + 1], int(batch.targets[user, place]))
        for user, place in batch.targets.nonzero().tolist()
    ]
    assert module.loss(batch, 0.0)[0].item() == pytest.approx(-np.mean(alone), rel=1e-5)


def test_it_learns_the_walk(data: SequenceData, tmp_path: Path) -> None:
    config = replace(SMALL, epochs=4, beams=10)
    result = fit(tiger.SYSTEM, config, data, FitOptions(run=tmp_path / "run", quiet=True))
    assert result.metrics["test"]["recall5"] > 0.6


def test_ids_are_taken_from_the_tokenizers_run_or_are_published() -> None:
    assert [one.system for one in tiger.SYSTEM.upstream(Config())] == ["rqvae"]
    assert [one.system for one in tiger.SYSTEM.upstream(Config(ids="mmq2"))] == ["mmq2"]
    assert tiger.SYSTEM.upstream(Config(ids="letter")) == ()
    assert [tiger.SYSTEM.variant(Config(ids=ids)) for ids in ("rqvae", "mmq2")] == ["", "mmq2"]


def test_the_shape_of_ids_is_that_of_each_tokenizer_with_its_defaults() -> None:
    """RQ-VAE and BBQ add an id that tells collisions apart."""
    quantiser, ours, newer = mpq.Config(), mmq.Config(), mmq2.Config()
    assert CODEBOOKS["rqvae"] == (rqvae.Config().levels + 1, rqvae.Config().words)
    assert CODEBOOKS["mpq"] == (quantiser.codebooks, quantiser.words)
    assert CODEBOOKS["mmq"] == (ours.shared + ours.text + ours.graph, ours.words)
    assert CODEBOOKS["mmq2"] == (newer.shared + newer.text + newer.graph + newer.behaviour, newer.words)
    bound = bbqrec.QuantiserConfig()
    assert CODEBOOKS["bbq"] == (bound.levels + 1, bound.words)
    assert {name: shape for name, shape in CODEBOOKS.items() if name != "bbq"} == reg4rec.CODEBOOKS


def test_without_ids_it_says_what_to_train(data: SequenceData) -> None:
    lacking = replace(data, given={})
    with pytest.raises(ValueError, match=r"has no semantic ids 'rqvae' .*choose those of a tokenizer"):
        TIGER(SMALL, data.schema).prepare(lacking)
    with pytest.raises(ValueError, match=r"synthetic-sequences has no semantic ids 'letter' \(none are published with"):
        TIGER(replace(SMALL, ids="letter"), data.schema).prepare(lacking)


def test_published_ids_are_those_of_the_data_set(data: SequenceData) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (61, 4))
    published = replace(data.interactions, others={"letter": codes})
    module = TIGER(replace(SMALL, ids="letter"), data.schema)
    module.prepare(replace(data, given={}, interactions=published))
    assert np.array_equal(module.encoder.tokens_of[1:] % 256, codes[1:])
