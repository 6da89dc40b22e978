import pytest
import torch

from training.layers.transformer import (
    MASKED,
    Attention,
    DecoderBlock,
    EncoderBlock,
    KeysValues,
    causal_bias,
    length_bias,
    rotated,
)


def test_attention_equals_the_one_of_pytorch() -> None:
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(3, 5, 8)
    official = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    parts = (attention.query, attention.key, attention.value)
    with torch.no_grad():
        official.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        official.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        official.out_proj.weight.copy_(attention.output.weight)
        official.out_proj.bias.copy_(attention.output.bias)
    bias = causal_bias(x)
    expected = official(x, x, x, attn_mask=bias, need_weights=False)[0]
    torch.testing.assert_close(attention(x, *attention.keys_values(x), bias), expected)


@pytest.mark.parametrize("shape", [(5, 5), (1, 5, 5), (3, 5, 5), (3, 1, 5), (1, 1, 5)])
def test_training_has_the_answers_and_gradients_of_evaluation(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    block, x = EncoderBlock(8, 2).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    bias = torch.where(torch.rand(shape) < 0.5, MASKED, 0.0).double()
    found = []
    for mode in (True, False):
        block.train(mode).zero_grad()
        (answer := block(x, bias)).square().sum().backward()
        found.append([answer.detach(), *(weight.grad for weight in block.parameters())])
    torch.testing.assert_close(*found)


def test_a_single_place_is_seen_whole_and_without_a_bias_all_is() -> None:
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(3, 5, 1, 8)
    seen, queries = attention.keys_values(x), attention.queries(x)
    assert torch.equal(attention.alone(seen.values), attention.attend(queries, seen, causal_bias(x)))
    assert torch.equal(attention.attend(queries, seen, None), attention.attend(queries, seen, causal_bias(x)))


def test_an_item_of_the_future_does_not_change_the_past() -> None:
    torch.manual_seed(0)
    block, x = EncoderBlock(8, 2), torch.randn(1, 5, 8)
    changed = x.clone()
    changed[:, 3] += 1
    before, after = block(x, causal_bias(x)), block(changed, causal_bias(x))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_what_lies_beyond_the_length_is_not_seen() -> None:
    torch.manual_seed(0)
    block, x, memory = DecoderBlock(8, 2), torch.randn(2, 3, 1, 8), torch.randn(2, 4, 8)
    changed = memory.clone()
    changed[0, 2:] += 1
    bias = length_bias(memory, torch.tensor([2, 4]))
    before, _ = block(x, 0, None, block.cross.keys_values(memory), bias)
    after, _ = block(x, 0, None, block.cross.keys_values(changed), bias)
    assert torch.equal(before, after)


def test_a_fully_masked_row_is_no_nan() -> None:
    attention, x = Attention(8, 2), torch.randn(1, 3, 8)
    bias = torch.full((1, 1, 3), MASKED)
    assert bool(attention(x, *attention.keys_values(x), bias).isfinite().all())


def test_rotated_queries_and_keys_know_their_distance_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(1, 8), torch.randn(1, 8)
    products = [rotated(query, start + 3) @ rotated(key, start).T for start in (0, 5, 11)]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[0], products[2])
    assert not torch.allclose(products[0], rotated(query, 4) @ rotated(key, 0).T)


def test_a_block_adds_attention_and_then_feed_forward_each_of_its_normed_input() -> None:
    torch.manual_seed(0)
    block, x = EncoderBlock(8, 2), torch.randn(2, 5, 8)
    bias, normed = causal_bias(x), block.attention_norm(x)
    middle = x + block.attention(normed, *block.attention.keys_values(normed), bias)
    torch.testing.assert_close(block(x, bias), middle + block.feed_forward(block.feed_forward_norm(middle)))


def test_a_decoder_block_adds_its_own_steps_then_the_memory_then_feed_forward() -> None:
    torch.manual_seed(0)
    block, x, memory = DecoderBlock(8, 2), torch.randn(2, 3, 4, 8), torch.randn(2, 5, 8)
    bias = length_bias(memory, torch.tensor([5, 3]))
    found, _ = block(x, 0, None, block.cross.keys_values(memory), bias)
    for user in range(2):
        for path in range(3):
            own = x[user, path]
            normed = block.norms[0](own)
            keys, values = block.attention.keys_values(normed)
            queries = rotated(block.attention.queries(normed))
            middle = own + block.attention.attend(queries, KeysValues(rotated(keys), values), causal_bias(own))
            seen = block.cross.keys_values(memory[user, : (5, 3)[user]])
            nothing = torch.zeros(4, seen.keys.shape[1])
            crossed = middle + block.cross.attend(block.cross.queries(block.norms[1](middle)), seen, nothing)
            expected = crossed + block.feed_forward(block.norms[2](crossed))
            torch.testing.assert_close(found[user, path], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_every_addition_of_a_block_is_dropped_out_at_its_rate(rate: float) -> None:
    torch.manual_seed(0)
    x, memory = torch.randn(2, 1, 3, 8), torch.randn(2, 4, 8)
    encoder, decoder = EncoderBlock(8, 2, rate).train(), DecoderBlock(8, 2, rate).train()
    for block, additions in ((encoder, 2), (decoder, 3)):
        seen: list[torch.Tensor] = []
        block.dropout.register_forward_hook(lambda _one, _given, answer, seen=seen: seen.append(answer))
        if block is encoder:
            encoder(x[:, 0], causal_bias(x[:, 0]))
        else:
            decoder(x, 0, None, decoder.cross.keys_values(memory), length_bias(memory, torch.tensor([4, 4])))
        assert len(seen) == additions
        assert all(bool((part == 0).any()) == (rate > 0) for part in seen)
