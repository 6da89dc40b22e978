"""The first stage, and runs of both."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.systems.reg4rec_models import CONFIG, data, trained, untrained
from training.data.sequences import SequenceBatch
from training.fit import FitOptions, fit
from training.loop import predict
from training.systems import reg4rec
from training.systems.reg4rec import GPU, Config, Reg4Rec, preference, supervised
from training.systems.reg4rec.config import CODEBOOKS
from training.systems.reg4rec.decode import Search, decode
from training.systems.reg4rec.evaluation import evaluate
from training.systems.reg4rec.supervised import confident_order, random_order, targets_of, token_log_probs


def _train_batch(users: int = 16) -> SequenceBatch:
    return data().train.batch(np.arange(users))


def test_the_loss_falls_on_a_fixed_batch() -> None:
    module, _ = untrained()
    batch = _train_batch()
    optimizer = torch.optim.AdamW(module.generator.parameters(), lr=1e-2)
    values = []
    for _ in range(30):
        value, _ = supervised.loss(module, batch, 0.0)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]


def test_places_without_a_target_do_not_count() -> None:
    module, _ = untrained(dropout=0.0)
    batch = _train_batch(4)
    pad = torch.nn.functional.pad
    wider = batch._replace(items=pad(batch.items, (0, 3)), targets=pad(batch.targets, (0, 3)))
    losses = [supervised.loss(module, each, 0.9)[0] for each in (batch, wider)]
    torch.testing.assert_close(losses[0], losses[1])


def test_orders_in_training_are_random_with_tokens_without_weight_last() -> None:
    weights = torch.ones(600, 3)
    weights[300:, 1] = 0
    order = random_order(weights)
    assert bool((order.sort(-1).values == torch.arange(3)).all())
    seen, counts = torch.unique(order[:300], dim=0, return_counts=True)
    assert len(seen) == 6
    assert int(counts.min()) > 25
    assert bool((order[300:, 2] == 1).all())
    assert len(torch.unique(order[300:], dim=0)) == 2


def test_the_confident_order_is_greedy_over_the_targets_own_tokens() -> None:
    module, _ = untrained()
    generator, batch = module.generator, _train_batch(6)
    targets = targets_of(module, batch.targets)
    with torch.no_grad():
        states = generator.encoder(batch.items)
        order = confident_order(generator, states, targets)
        for user, place in (targets.item > 0).nonzero()[::3].tolist():
            left, path = [0, 1, 2], torch.zeros(0, dtype=torch.int64)
            encoded = generator.encode(batch.items[user : user + 1, : place + 1], torch.tensor([place + 1]))
            for step in range(3):
                output = generator.decoder(encoded.newest, generator.embedded(path)[None, None], encoded.memory)
                logits = generator.confidence(output[0, 0, -1], generator.directions()).flatten()
                own = targets.tokens[user, place]
                best = max(left, key=lambda book: float(logits[own[book]]))
                assert order[user, place, step] == best
                left.remove(best)
                path = torch.cat((path, own[best : best + 1]))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_token_without_weight_is_no_target(weight: float) -> None:
    module, sequences = untrained(dropout=0.0)
    batch = SequenceBatch(*map(torch.tensor, ([1], [[1, 2, 3]], [3], [[0, 0, 9]])))
    losses = []
    for word in (0, 1):
        given = {name: value.clone() for name, value in sequences.given.items()}
        given["codes"][9, 2], given["weights"][9, 2] = word, weight
        module.prepare(replace(sequences, given=given))
        losses.append(supervised.loss(module, batch, 0.9)[0].item())
    assert (losses[0] == losses[1]) == (weight == 0)


@pytest.mark.parametrize("validity", ["masked", "checked"])
def test_the_score_of_a_path_is_the_sum_of_its_log_probabilities(validity: str) -> None:
    module, _ = untrained(validity=validity)
    batch, catalogue = _train_batch(4), module.catalogue()
    with torch.no_grad():
        encoded = module.generator.encode(batch.items, batch.length)
        decoded = decode(module.generator, encoded, torch.zeros(4), Search(5, 2, catalogue))
        tokens = decoded.tokens.long()
        chosen = module.generator.embedded(tokens)
        outputs = module.generator.decoder(encoded.newest.expand(-1, 5, -1), chosen[:, :, :-1], encoded.memory)
        found = token_log_probs(module.generator, outputs, tokens, catalogue)
    torch.testing.assert_close(found.sum(2), decoded.scores)


def test_the_supervised_stage_teaches_the_target_s_category_at_every_step() -> None:
    module, _ = untrained(dropout=0.0)
    generator, batch = module.generator, _train_batch(6)
    targets, losses = targets_of(module, batch.targets), []
    with torch.no_grad():
        order = confident_order(generator, generator.encoder(batch.items), targets)
        for user, place in (targets.item > 0).nonzero().tolist():
            path = targets.tokens[user, place][order[user, place]][None, None]
            encoded = generator.encode(batch.items[user : user + 1, : place + 1], torch.tensor([place + 1]))
            chosen = generator.embedded(path)
            outputs = generator.decoder(encoded.newest, chosen[:, :, :-1], encoded.memory)
            wanted = module.categories[targets.item[user, place]]
            losses.append(-generator.category_logits(outputs, chosen)[0, 0].log_softmax(-1)[:, wanted])
        _, logged = supervised.loss(module, batch, 0.9)
    torch.testing.assert_close(logged["categories"], torch.cat(losses).mean())


def _legal(module: Reg4Rec, path: list[int], validity: str) -> list[int]:
    """Tokens that may follow: of unused codebooks, and where paths are masked of an item that has the path's tokens."""
    words, books = module.config.shape.words, module.config.shape.codebooks
    used = {token // words for token in path}
    if validity == "checked":
        return [token for token in range(books * words) if token // words not in used]
    items = (set(row) for row in module.generator.encoder.tokens_of[1:].tolist())
    return sorted({token for item in items if item >= set(path) for token in item if token // words not in used})


@pytest.mark.parametrize("validity", ["masked", "checked"])
def test_the_supervised_loss_is_that_of_each_step_among_the_tokens_that_may_follow(validity: str) -> None:
    module, _ = untrained(dropout=0.0, validity=validity, category_weight=0.7)
    module.weights[1:, 1] = torch.rand(60)
    module.weights[20:30, 2] = 0
    generator, batch = module.generator, _train_batch(4)
    targets, summed = targets_of(module, batch.targets), 0.0
    there = targets.item > 0
    with torch.no_grad():
        order = confident_order(generator, generator.encoder(batch.items), targets)
        for user, place in there.nonzero().tolist():
            path = targets.tokens[user, place][order[user, place]]
            encoded = generator.encode(batch.items[user : user + 1, : place + 1], torch.tensor([place + 1]))
            outputs = generator.decoder(encoded.newest, generator.embedded(path)[None, None, :-1], encoded.memory)[0, 0]
            logits = generator.confidence(outputs, generator.directions()).flatten(1)
            for step, token in enumerate(path.tolist()):
                legal = _legal(module, path[:step].tolist(), validity)
                share = logits[step, legal].log_softmax(0)[legal.index(token)]
                summed -= float(targets.weights[user, place, order[user, place, step]] * share)
        value, logged = supervised.loss(module, batch, 0.9)
    assert logged["tokens"].item() == pytest.approx(summed / float(targets.weights[there].sum()), rel=1e-4)
    assert value.item() == pytest.approx(float(logged["tokens"] + 0.7 * logged["categories"]), rel=1e-6)


def test_confidence_is_the_cosine_of_wish_and_token_over_the_temperature() -> None:
    module, _ = untrained(dropout=0.25, temperature=0.2)
    generator, outputs = module.generator, torch.randn(5, 16)
    tokens, wished = generator.encoder.tokens.weight[:-1], generator.to_token(outputs)
    cosines = torch.nn.functional.cosine_similarity(wished[:, None], tokens[None], dim=2)
    found = generator.confidence(outputs, generator.directions()).flatten(1)
    torch.testing.assert_close(found, cosines / 0.2)
    assert {one.p for one in module.modules() if isinstance(one, torch.nn.Dropout)} == {0.25}


def test_the_first_share_of_the_stage_is_in_random_order_and_the_rest_in_that_of_confidence() -> None:
    module, _ = untrained(dropout=0.0, ordered_share=0.3)
    batch, found = _train_batch(4), {}
    for done in (0.6, 0.8):
        for seed in (0, 1):
            torch.manual_seed(seed)
            found[done, seed] = supervised.loss(module, batch, done)[0].item()
    assert found[0.6, 0] != found[0.6, 1]
    assert found[0.8, 0] == found[0.8, 1]
    assert found[0.8, 0] not in (found[0.6, 0], found[0.6, 1])


def test_a_run_with_both_stages_is_restored_with_its_metrics(tmp_path: Path) -> None:
    chosen = replace(CONFIG, epochs=1, beams=4, rollouts=4)
    result = fit(reg4rec.SYSTEM, chosen, data(), FitOptions(run=tmp_path / "run", quiet=True))
    again = fit(reg4rec.SYSTEM, chosen, data(), FitOptions(run=tmp_path / "run", quiet=True, resume=True))
    assert isinstance(again.module, Reg4Rec)
    assert evaluate(again.module, predict, data().test) == result.metrics["test"]
    assert result.metrics["test"].keys() >= {"recall5", "recall10", "ndcg5", "ndcg10", "corp_recall10", "pruned_share"}


def test_without_preference_epochs_there_is_no_second_stage() -> None:
    assert [stage.name for stage in reg4rec.SYSTEM.stages_of(Config())] == ["supervised", "preference"]
    alone = Config(preference_epochs=0)
    assert [stage.name for stage in reg4rec.SYSTEM.stages_of(alone)] == ["supervised"]
    assert Reg4Rec(alone, data().schema).reference is None


def test_both_stages_have_the_configuration_s_rates_and_are_judged_by_ndcg10() -> None:
    config = Config(learning_rate=0.3, preference_rate=0.2, epochs=7, preference_epochs=2, weight_decay=0.1)
    first, second = reg4rec.SYSTEM.stages_of(config)
    assert (first.learning_rate, first.epochs, first.batch_size) == (0.3, 7, 32)
    assert (second.learning_rate, second.epochs, second.batch_size) == (0.2, 2, 128)
    for stage in (first, second):
        assert (stage.monitor, stage.schedule, stage.weight_decay, stage.patience) == ("ndcg10", "linear", 0.1, 7)
    assert (first.loss, second.loss) == (supervised.loss, preference.loss)


def test_a_model_takes_weights_categories_and_popularity_from_its_data() -> None:
    module, sequences = untrained()
    given = {**sequences.given, "weights": torch.rand(61, 3)}
    module.prepare(replace(sequences, given=given))
    assert torch.equal(module.codes, given["codes"])
    assert torch.equal(module.weights, given["weights"])
    assert module.categories.tolist() == sequences.categories.tolist()
    assert module.popularity.tolist() == sequences.train_item_counts.tolist()
    assert int(module.popularity.max()) > 1


def test_missing_semantic_ids_name_the_tokenizer() -> None:
    module, sequences = untrained()
    with pytest.raises(ValueError, match=r"has no semantic ids 'mpq' .*choose those of a tokenizer"):
        module.prepare(replace(sequences, given={}))


def test_each_variant_takes_the_ids_of_its_tokenizer() -> None:
    for ids, shape in CODEBOOKS.items():
        config = Config(ids=ids)
        assert config.shape == shape
        assert reg4rec.SYSTEM.variant(config) == ("" if ids == "mpq" else ids)
        assert [each.system for each in reg4rec.SYSTEM.upstream(config)] == ([] if ids == "letter" else [ids])
    assert reg4rec.SYSTEM.upstream(GPU)[0].config == {"codebooks": 8, "words": 300}


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"theta is 1.5; it must be in 0..1"):
        Config(theta=1.5)
    with pytest.raises(ValueError, match="beams is 0; it must be at least 1"):
        Config(beams=0)


def test_the_distance_from_the_reference_costs_what_its_weight_says() -> None:
    module = copy.deepcopy(trained())
    assert module.reference is not None
    module.reference.load_state_dict(untrained()[0].generator.state_dict())
    values = {}
    for weight in (0.0, 2.0):
        module.config = replace(module.config, kl_weight=weight)
        torch.manual_seed(0)
        values[weight], logged = preference.loss(module, _train_batch(), 0.5)
    assert logged["divergence"] > 0.01
    torch.testing.assert_close(values[2.0] - values[0.0], 2.0 * logged["divergence"])
