import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels.consistency_pruning import crss_candidates, required_match
from kernels.consistency_pruning.state import Beams
from tests.training.systems.reg4rec_models import CONFIG, data, trained, untrained
from training.data.sequences import SequenceBatch
from training.layers.generator import reordered
from training.systems.reg4rec import Reg4Rec
from training.systems.reg4rec.catalogue import Catalogue, possible_tokens
from training.systems.reg4rec.decode import (
    Decoded,
    Search,
    check_steps,
    decode,
    step_log_probs,
)
from training.systems.reg4rec.generator import Encoded
from training.systems.reg4rec.ranking import ranked

FREE = Search(6)


def _batch(module: Reg4Rec, users: int = 5) -> tuple[SequenceBatch, Encoded]:
    batch = data().test.batch(np.arange(users))
    with torch.no_grad():
        return batch, module.generator.encode(batch.items, batch.length)


@torch.no_grad()
def _decode(module: Reg4Rec, encoded: Encoded, theta: float, search: Search = FREE) -> Decoded:
    return decode(module.generator, encoded, torch.full(encoded.newest.shape[:1], theta), search)


def _alone(encoded: Encoded, user: int) -> Encoded:
    memory = encoded.memory
    layers = tuple(layer._make(part[user : user + 1] for part in layer) for layer in memory.layers)
    return Encoded(memory._replace(layers=layers, bias=memory.bias[user : user + 1]), encoded.newest[user : user + 1])


def _extensions(module: Reg4Rec, encoded: Encoded, path: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Log-probabilities [M * D] after a path of one user, everything computed anew, and category logits [M * D, C]."""
    generator, words = module.generator, module.config.shape.words
    chosen = generator.embedded(torch.tensor(path, dtype=torch.int64))[None, None]
    output = generator.decoder(encoded.newest, chosen, encoded.memory)[0, 0, -1]
    logits = generator.confidence(output, generator.directions())
    for token in path:
        logits[token // words] = -torch.inf
    categories = generator.category_logits(output.expand(logits.numel(), -1), generator.encoder.tokens.weight[:-1])
    return logits.flatten().log_softmax(0), categories


@torch.no_grad()
def _plain_search(module: Reg4Rec, encoded: Encoded, theta: float, beams: int) -> list[tuple[list[int], list[int]]]:
    """Beam search with lists and sorting: (tokens, categories) of each beam, best first."""
    paths: list[tuple[float, list[int], list[int]]] = [(0.0, [], [])]
    codebooks = module.config.shape.codebooks
    for step in range(1, codebooks + 1):
        extended = []
        for score, tokens, categories in paths:
            gains, logits = _extensions(module, encoded, tuple(tokens))
            for token in range(len(gains)):
                if gains[token] > -torch.inf:
                    new = (score + float(gains[token]), [*tokens, token], [*categories, int(logits[token].argmax())])
                    extended.append(new)
        looked_at = sorted(extended, key=lambda path: -path[0])[: 2 * beams]  # stable: parent, then token
        matches = [sum(a == b for a, b in itertools.pairwise(path[2])) for path in looked_at]
        need = required_match(theta, step) if step in check_steps(codebooks) else 0
        kept = [path for path, match in zip(looked_at, matches, strict=True) if match >= need]
        paths = (kept or [looked_at[matches.index(max(matches))]])[:beams]
    return [(tokens, categories) for _, tokens, categories in paths]


@pytest.mark.parametrize("theta", [0.0, 0.5, 1.0])
def test_the_beams_are_those_of_a_search_with_lists_that_computes_everything_anew(theta: float) -> None:
    module, _ = untrained()
    _, encoded = _batch(module)
    decoded = _decode(module, encoded, theta)
    for user in range(5):
        expected = _plain_search(module, _alone(encoded, user), theta, 6)
        live = int((decoded.scores[user] > -torch.inf).sum())
        found = zip(decoded.tokens[user, :live].tolist(), decoded.categories[user, :live].tolist(), strict=True)
        assert list(found) == expected


def test_equal_scores_are_ordered_by_their_place() -> None:
    module, _ = untrained()
    with torch.no_grad():
        module.generator.to_token.weight.zero_()
    _, encoded = _batch(module, 2)
    tokens = _decode(module, encoded, 0.0).tokens[0].tolist()
    # All tokens are equally likely: the first path takes the lowest token of each step, the others vary its last ones.
    assert tokens == [[0, 6, token] for token in range(12, 18)]


def test_the_probabilities_of_all_paths_sum_to_one() -> None:
    module, _ = untrained(words=3, given=False)
    _, encoded = _batch(module)
    decoded = _decode(module, encoded, 0.0, Search(200))
    assert (decoded.scores > -torch.inf).sum(1).tolist() == [math.factorial(3) * 3**3] * 5
    torch.testing.assert_close(decoded.scores.logsumexp(1), torch.zeros(5), atol=1e-5, rtol=0)


def test_every_decoded_set_is_an_item_and_their_probabilities_sum_to_one() -> None:
    module, sequences = untrained()
    _, encoded = _batch(module, 2)
    decoded = _decode(module, encoded, 0.0, Search(400, 2, module.catalogue()))
    items = {tuple(row) for row in sequences.given["codes"][1:].tolist()}
    for user in range(2):
        live = decoded.scores[user] > -torch.inf
        assert {tuple(row) for row in decoded.codes[user][live].tolist()} == items
        assert int(live.sum()) == math.factorial(3) * len(items)
    torch.testing.assert_close(decoded.scores.logsumexp(1), torch.zeros(2), atol=1e-5, rtol=0)


def test_no_codebook_is_used_twice() -> None:
    module, _ = untrained()
    _, encoded = _batch(module)
    decoded = _decode(module, encoded, 0.0)
    books = decoded.tokens // CONFIG.shape.words
    assert bool((books.sort(-1).values == torch.arange(3)).all())
    assert torch.equal(decoded.codes.gather(2, books.long()), decoded.tokens % CONFIG.shape.words)


def test_labels_of_codebooks_do_not_matter() -> None:
    module, sequences = untrained()
    other, _ = untrained(seed=1)
    order, words, dim = [2, 0, 1], CONFIG.shape.words, CONFIG.dim
    rows = torch.cat([torch.arange(words) + book * words for book in order])
    columns = torch.cat([torch.arange(dim) + book * dim for book in order])
    state = dict(module.generator.state_dict())
    state["encoder.tokens.weight"] = state["encoder.tokens.weight"][torch.cat((rows, torch.tensor([3 * words])))]
    state["encoder.merge.0.weight"] = state["encoder.merge.0.weight"][:, columns]
    other.generator.load_state_dict(state)
    codes = sequences.given["codes"][:, order]
    other.prepare(replace(sequences, given={**sequences.given, "codes": codes}))
    answers = []
    for each in (module, other):
        batch, encoded = _batch(each)
        decoded = _decode(each, encoded, 1.0, Search(8, 2, each.catalogue()))
        answers.append(ranked(decoded, each.catalogue(), batch.items, 5))
    assert torch.equal(answers[0].items, answers[1].items)
    torch.testing.assert_close(answers[0].scores, answers[1].scores)


@torch.no_grad()
def _without_pruning(module: Reg4Rec, encoded: Encoded, beams: int) -> tuple[Tensor, Tensor]:
    """Scores and codes of a beam search without any check, in tensors."""
    generator, directions = module.generator, module.generator.directions()
    batch, (codebooks, words) = encoded.newest.shape[0], module.config.shape
    scores, codes = torch.zeros(batch, 1), torch.full((batch, 1, codebooks), -1, dtype=torch.int32)
    x, past = generator.decoder.first(encoded.newest), ()
    for step in range(codebooks):
        output, past = generator.decoder.step(x, step, past, encoded.memory)
        logits, possible = generator.confidence(output, directions), possible_tokens(codes, words, None)
        log_probs = step_log_probs(logits, possible).view_as(logits)
        nothing = torch.zeros_like(codes[:, :, :1])
        found, tokens = crss_candidates(Beams(scores, codes, nothing, nothing[:, :, 0]), log_probs, beams)
        scores, best = found.sort(dim=1, descending=True, stable=True)
        tokens = tokens.gather(1, best)
        parents, tokens = tokens // (codebooks * words), (tokens % (codebooks * words)).long()
        codes = codes.gather(1, parents.long()[:, :, None].expand(-1, -1, codebooks)).clone()
        codes.scatter_(2, (tokens // words)[:, :, None], (tokens % words)[:, :, None].int())
        past, x = reordered(past, parents), generator.embedded(tokens)
    return scores, codes


def test_theta_0_is_beam_search_without_pruning_bit_for_bit() -> None:
    module, _ = untrained()
    _, encoded = _batch(module, 40)
    decoded = _decode(module, encoded, 0.0)
    scores, codes = _without_pruning(module, encoded, 6)
    assert torch.equal(decoded.scores, scores)
    assert torch.equal(decoded.codes, codes)
    assert decoded.pruned.tolist() == [0] * 40
    assert not torch.equal(_decode(module, encoded, 1.0).codes, codes)


def test_theta_1_returns_consistent_paths_unless_the_floor_fired() -> None:
    module, _ = untrained(codebooks=4, given=False)
    _, encoded = _batch(module, 100)
    decoded = _decode(module, encoded, 1.0, Search(4))
    checked = decoded.categories[:, :, :3]
    live = decoded.scores > -torch.inf
    consistent = (checked == checked[:, :, :1]).all(2)
    floored = (live & ~consistent).any(1)
    # The floor keeps one path, which all beams of the last step extend.
    assert bool((decoded.tokens[floored][:, :, :3] == decoded.tokens[floored][:, :1, :3]).all())
    assert 0 < int(floored.sum()) < 100
    assert bool(live.any(1).all())


def test_the_share_of_pruned_candidates_grows_with_theta() -> None:
    module, _ = untrained(codebooks=4, given=False)
    _, encoded = _batch(module, 100)
    shares = []
    for theta in (0.0, 0.5, 1.0):
        decoded = _decode(module, encoded, theta)
        assert decoded.considered.tolist() == [12] * 100
        assert bool((decoded.scores > -torch.inf).any(1).all())
        shares.append(int(decoded.pruned.sum()))
    assert 0 == shares[0] < shares[1] < shares[2]


def _planted() -> Reg4Rec:
    """Each codebook has word 0, likelier, of category 0 or 1 in turn, and word 1, less likely, of category 2."""
    module, _ = untrained(codebooks=4, words=4, dim=16, given=False)
    generator = module.generator
    preference = torch.full((16,), -1.0)
    preference[0::4] = torch.tensor([2.0, 1.9, 1.8, 1.7])
    preference[1::4] = torch.tensor([1.4, 1.3, 1.2, 1.1])
    categories = torch.zeros(module.generator.category_of_state.out_features, 16)
    for codebook in range(4):
        categories[codebook % 2, 4 * codebook] = 1
        categories[2, 4 * codebook + 1] = 1
    with torch.no_grad():
        generator.encoder.tokens.weight.copy_(torch.eye(17, 16))
        generator.decoder.norm.weight.zero_()
        generator.decoder.norm.bias.copy_(preference)
        generator.to_token.weight.copy_(torch.eye(16))
        generator.category_of_state.weight.zero_()
        generator.category_of_state.bias.zero_()
        generator.category_of_token.weight.copy_(categories)
    return module


def test_likely_paths_that_alternate_are_removed_and_the_consistent_item_comes_up() -> None:
    module = _planted()
    codes = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]])
    catalogue = Catalogue(codes, np.zeros(4, np.int64), 4, masked=False)
    batch, encoded = _batch(module)
    nothing_seen = torch.zeros_like(batch.items)
    plain, pruned = (
        ranked(_decode(module, encoded, theta, Search(200)), catalogue, nothing_seen, 3) for theta in (0.0, 1.0)
    )
    target = 2
    assert plain.items[:, 0].tolist() == [1] * 5
    assert pruned.items[:, 0].tolist() == [target] * 5
    assert 1 not in pruned.items
    assert (pruned.items == target).any(1).sum() >= (plain.items == target).any(1).sum()


def test_an_answer_depends_neither_on_the_batch_nor_on_the_place_in_it() -> None:
    module, _ = untrained()
    batch = data().test.batch(np.arange(12))
    search = Search(8, 2, module.catalogue())

    def answer(rows: list[int]) -> Decoded:
        with torch.no_grad():
            encoded = module.generator.encode(batch.items[rows], batch.length[rows])
        return _decode(module, encoded, 1.0, search)

    whole = answer(list(range(12)))
    shuffled = [3, 0, 11, 7, 1, 2, 10, 4, 9, 5, 8, 6]
    pieces = [answer(rows) for rows in (shuffled[:5], shuffled[5:6], shuffled[6:])]
    for name, expected in whole._asdict().items():
        found = torch.cat([getattr(piece, name) for piece in pieces])
        torch.testing.assert_close(found, expected[shuffled], msg=name)


def test_a_trained_model_changes_the_order_from_user_to_user() -> None:
    module = trained(40)
    _, encoded = _batch(module, 200)
    decoded = _decode(module, encoded, 0.0, Search(8, 2, module.catalogue()))
    orders = Counter(tuple(row) for row in (decoded.tokens[:, 0] // CONFIG.shape.words).tolist())
    assert 200 - max(orders.values()) >= 40, orders


def test_sets_that_are_no_item_are_dropped_at_the_end_where_they_are_only_checked() -> None:
    module, sequences = untrained(validity="checked")
    batch, encoded = _batch(module)
    decoded = _decode(module, encoded, 0.0, Search(40, 2, module.catalogue()))
    items = {tuple(row) for row in sequences.given["codes"][1:].tolist()}
    assert any(tuple(row) not in items for row in decoded.codes.flatten(0, 1).tolist())
    found = ranked(decoded, module.catalogue(), batch.items, 10)
    for user in range(5):
        for item, beam in zip(found.items[user].tolist(), found.beams[user].tolist(), strict=True):
            if item:
                assert sequences.given["codes"][item].tolist() == decoded.codes[user, beam].tolist()
