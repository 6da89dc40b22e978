from dataclasses import replace

import pytest
import torch

from training.layers.generator import GeneratorSizes, SequenceEncoder, TokenDecoder, newest_state, reordered
from training.layers.transformer import KeysValues
from training.schema import Field

ITEM = Field(name="item", role="item", kind="id", uses=("key",), cardinality=10)
SIZES = GeneratorSizes(
    items=ITEM, codebooks=3, words=4, max_length=6, dim=8, heads=2, encoder_layers=2, decoder_layers=2, dropout=0.0
)


def _encoder() -> SequenceEncoder:
    torch.manual_seed(0)
    encoder = SequenceEncoder(SIZES)
    encoder.prepare(torch.randint(4, (10, 3)))
    return encoder.eval()


def test_a_state_knows_its_prefix_alone() -> None:
    encoder = _encoder()
    items = torch.tensor([[3, 1, 4, 1, 5]])
    changed = torch.tensor([[3, 1, 4, 2, 6]])
    assert torch.equal(encoder(items)[:, :3], encoder(changed)[:, :3])
    torch.testing.assert_close(encoder(items)[:, :3], encoder(items[:, :3]))


def test_an_id_that_is_no_item_is_the_unknown_item() -> None:
    encoder = _encoder()
    states = [encoder(torch.tensor([[2, odd]])) for odd in (0, -1, 10, 1 << 40)]
    assert all(torch.equal(states[0], other) for other in states[1:])
    assert not torch.equal(states[0], encoder(torch.tensor([[2, 9]])))


def test_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be in 0\.\.3"):
        _encoder().prepare(torch.full((10, 3), 4))
    with pytest.raises(ValueError, match=r"must be \[10, 3\]"):
        _encoder().prepare(torch.zeros(10, 2, dtype=torch.int64))


def test_a_path_step_by_step_equals_the_path_at_once() -> None:
    encoder, decoder = _encoder(), TokenDecoder(SIZES).eval()
    length = torch.tensor([5, 2])
    states = encoder(torch.randint(10, (2, 5)))
    memory, newest = decoder.histories(states, length), newest_state(states, length).expand(-1, 4, -1)
    chosen = torch.randn(2, 4, 2, 8)
    whole = decoder(newest, chosen, memory)
    x, past = decoder.first(newest), ()
    for number in range(3):
        output, past = decoder.step(x, number, past, memory)
        torch.testing.assert_close(output, whole[:, :, number])
        x = chosen[:, :, min(number, 1)]


def test_the_training_pass_over_all_prefixes_equals_each_history_alone() -> None:
    encoder, decoder = _encoder(), TokenDecoder(SIZES).eval()
    items = torch.tensor([[3, 1, 4, 1, 5]])
    states, chosen = encoder(items), torch.randn(1, 5, 2, 8)
    together = decoder(states, chosen, decoder.prefixes(states, 3))
    for place in range(5):
        alone = encoder(items[:, : place + 1])
        length = torch.tensor([place + 1])
        path = decoder(newest_state(alone, length), chosen[:, place, None], decoder.histories(alone, length))
        torch.testing.assert_close(path[:, 0], together[:, place])


def test_kept_keys_follow_their_paths() -> None:
    kept = torch.arange(2 * 3 * 2).reshape(2, 3, 1, 1, 2).float()
    parents = torch.tensor([[2, 2, 0, 1], [1, 0, 0, 0]])
    (layer,) = reordered((KeysValues(kept, kept + 100),), parents)
    for request in range(2):
        for slot in range(4):
            assert torch.equal(layer.keys[request, slot], kept[request, parents[request, slot]])
    assert torch.equal(layer.values, layer.keys + 100)


def test_a_state_is_told_from_another_by_its_place() -> None:
    states = _encoder()(torch.tensor([[3, 3, 3]]))[0]
    assert not torch.allclose(states[0], states[1], atol=1e-3)
    assert not torch.allclose(states[1], states[2], atol=1e-3)


def test_a_path_starts_from_the_newest_state_and_a_vector_of_its_own() -> None:
    decoder, newest = TokenDecoder(SIZES), torch.randn(2, 3, 8)
    with torch.no_grad():
        decoder.start.normal_()
    torch.testing.assert_close(decoder.first(newest), newest + decoder.start)


def test_an_item_is_the_merged_embeddings_of_its_tokens_at_its_place() -> None:
    encoder, seen = _encoder(), []
    encoder.blocks[0].register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    encoder(torch.tensor([[2, 9]]))
    for place, item in enumerate((2, 9)):
        tokens = encoder.tokens.weight[encoder.tokens_of[item]].flatten()
        torch.testing.assert_close(seen[0][0, place], encoder.merge(tokens) + encoder.places.weight[place])


def test_the_rate_of_dropout_is_that_of_the_sizes_everywhere() -> None:
    sizes = replace(SIZES, dropout=0.4)
    for module, count in ((SequenceEncoder(sizes), 3), (TokenDecoder(sizes), 2)):
        rates = [one.p for one in module.modules() if isinstance(one, torch.nn.Dropout)]
        assert rates == [0.4] * count
    encoder = SequenceEncoder(sizes).train()
    encoder.blocks.eval()
    items = torch.tensor([[2, 9]])
    assert not torch.equal(encoder(items), encoder(items)), "the embedding is dropped out too"
