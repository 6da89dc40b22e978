import pytest
import torch

from training.systems.reg4rec.rewards import Window, combined, rewards, window_weights, windowed

TARGET, CATEGORY = (1, 2, 3), 27
FIGURE = (
    ((1, 20, 3), (12, 12, 12), (2, 0, 0, 2)),
    ((10, 2, 30), (12, 12, 12), (1, 0, 0, 2)),
    ((1, 2, 3), (12, 12, 12), (3, 1, 0, 2)),
    ((20, 20, 20), (12, 12, 12), (0, 0, 0, 2)),
    ((20, 20, 20), (30, 30, 27), (0, 0, 1, 1)),
    ((20, 20, 20), (27, 30, 27), (0, 0, 2, 0)),
    ((20, 20, 20), (30, 30, 30), (0, 0, 0, 2)),
    ((20, 20, 20), (27, 30, 30), (0, 0, 1, 1)),
)


def test_the_rewards_are_those_of_the_figure() -> None:
    tokens, categories, expected = (torch.tensor(column) for column in zip(*FIGURE, strict=True))
    found = rewards(tokens, categories, torch.tensor(TARGET), torch.tensor(CATEGORY))
    assert torch.equal(torch.stack(found, 1), expected)


def test_each_reward_counts_at_most_its_weight() -> None:
    best = rewards(*(torch.tensor([values]) for values in (TARGET, (CATEGORY,) * 3, TARGET, CATEGORY)))
    assert combined(best, 3).item() == pytest.approx(1 + 1 + 0.5 + 0.5)
    middle = rewards(
        torch.tensor([[1, 20, 3]]), torch.tensor([[12, 27, 27]]), torch.tensor(TARGET), torch.tensor(CATEGORY)
    )
    assert combined(middle, 3).item() == pytest.approx(2 / 3 + 0.5 * 2 / 3 + 0.5 * 1 / 2)


def _window(there: list[bool]) -> Window:
    generator = torch.Generator().manual_seed(0)
    size = len(there)
    codes = torch.randint(3, (1, size, 3), generator=generator)
    return Window(codes, torch.randint(3, (1, size), generator=generator), torch.tensor([there]))


def test_a_window_of_one_item_is_the_plain_reward() -> None:
    window = _window([True])
    codes, categories = torch.randint(3, (1, 7, 3)), torch.randint(3, (1, 7, 3))
    plain = combined(rewards(codes[0], categories[0], window.codes[0], window.categories[0]), 3)
    torch.testing.assert_close(windowed(codes, categories, window, 0.6)[0], plain)


def test_later_items_weigh_less_and_missing_ones_nothing() -> None:
    whole = window_weights(torch.ones(1, 5, dtype=torch.bool), 0.6)[0]
    assert bool((whole[1:] < whole[:-1]).all())
    assert whole.sum().item() == pytest.approx(1)
    short = window_weights(torch.tensor([[True, True, False, False, False]]), 0.6)[0]
    torch.testing.assert_close(short, torch.tensor([1 / 1.6, 0.6 / 1.6, 0, 0, 0]))
    codes, categories = torch.randint(3, (1, 7, 3)), torch.randint(3, (1, 7, 3))
    window, cut = _window([True, True, False]), _window([True, True])
    cut = Window(window.codes[:, :2], window.categories[:, :2], cut.there)
    torch.testing.assert_close(windowed(codes, categories, window, 0.6), windowed(codes, categories, cut, 0.6))
