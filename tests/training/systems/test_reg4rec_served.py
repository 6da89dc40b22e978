"""REG4Rec's served form: packed histories, the list it answers with, and what it does with what cannot be."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.reg4rec_models import data, trained
from training.layers.served_lists import NO_SCORE, packed
from training.servable import Packed, Servable
from training.systems.reg4rec.decode import Search, decode
from training.systems.reg4rec.ranking import ranked
from training.systems.reg4rec.servables import servables
from training.tasks.next_item import NEXT_ITEM


@cache
def served() -> Servable:
    model = trained()
    (one,) = servables("reg4rec", model, model.config, data())
    assert isinstance(one, Servable)
    return one


def ask(histories: list[list[int]], thetas: list[float]) -> dict[str, Tensor]:
    answer = served().eager(*packed([np.array(history) for history in histories]), torch.tensor(thetas)[:, None])
    return dict(zip([spec.name for spec in served().outputs], answer, strict=True))


def test_a_list_is_that_of_the_search_over_the_users_history() -> None:
    # Of all ten items of a cluster the beams would lead to what was seen.
    model, history = trained(), data().sequence(3)[:4]
    answer = ask([history.tolist()], [0.5])
    items = torch.from_numpy(history[-model.config.max_length :])[None]
    with torch.no_grad():
        encoded = model.generator.encode(items, torch.tensor([items.shape[1]]))
        search = Search(model.config.beams, model.config.over, model.catalogue())
        decoded = decode(model.generator, encoded, torch.tensor([0.5]), search)
        expected = ranked(decoded, model.catalogue(), items, model.config.beams)
    assert torch.equal(answer["items"], expected.items)
    there = expected.items > 0
    assert there.any()
    torch.testing.assert_close(answer["scores"][there], expected.scores[there])
    assert (answer["scores"][~there] == NO_SCORE).all()
    assert answer["pruned"].item() == pytest.approx((decoded.pruned / decoded.considered).item())


def test_the_path_of_an_item_consists_of_its_tokens_in_some_order() -> None:
    model = trained()
    answer = ask([data().sequence(user).tolist() for user in (1, 2, 3)], [0.0, 0.5, 1.0])
    for items, paths in zip(answer["items"], answer["paths"], strict=True):
        for item, path in zip(items.tolist(), paths.tolist(), strict=True):
            if item == 0:
                assert path == [[-1, -1]] * model.config.shape.codebooks
            else:
                assert sorted(path) == [[number, code] for number, code in enumerate(model.codes[item].tolist())]


def test_requests_are_answered_alike_alone_and_in_a_batch() -> None:
    histories = [data().sequence(user).tolist() for user in range(1, 8)]
    thetas = [0.0, 0.5, 1.0, 0.25, 0.75, 0.0, 0.5]
    together = ask(histories, thetas)
    for row, (history, theta) in enumerate(zip(histories, thetas, strict=True)):
        alone = ask([history], [theta])
        for name, array in alone.items():
            torch.testing.assert_close(array[0], together[name][row], rtol=1e-5, atol=1e-5)
            assert array.is_floating_point() or torch.equal(array[0], together[name][row])


@pytest.mark.parametrize(("history", "theta"), [([3, -1], 0.5), ([3], -0.5), ([3], 1.5), ([3], float("nan"))])
def test_what_cannot_be_right_is_no_number_and_leaves_its_neighbour_alone(history: list[int], theta: float) -> None:
    answer = ask([history, [5, 11]], [theta, 0.5])
    assert answer["scores"][0].isnan().all()
    assert answer["pruned"][0].isnan().all()
    alone = ask([[5, 11]], [0.5])
    assert torch.equal(alone["items"][0], answer["items"][1])
    torch.testing.assert_close(alone["scores"][0], answer["scores"][1])


def test_an_empty_history_is_answered_as_one_unknown_item_alone_and_in_company() -> None:
    together = ask([[5, 11], [], [2**40], []], [0.5] * 4)
    alone = ask([[]], [0.5])
    assert (alone["items"] > 0).any()
    for name, array in alone.items():
        for row in (1, 2, 3):
            torch.testing.assert_close(together[name][row], array[0], rtol=1e-5, atol=1e-5)
    assert not torch.equal(together["scores"][0], together["scores"][1])


def test_an_unknown_item_is_no_error_and_is_not_listed() -> None:
    answer = ask([[5, 2**40, 11]], [0.0])
    assert answer["scores"].isfinite().all()
    assert (answer["items"] <= 60).all()


def test_examples_begin_with_the_edge_cases_and_none_is_decided_by_rounding() -> None:
    history, ends, theta = served().example(8, 0)
    lengths = np.diff(ends.numpy(), prepend=0)
    assert lengths[:2].tolist() == [1, 0]
    assert (history == 2**40).any()
    assert lengths.max() > trained().config.max_length
    assert len(set(theta[:, 0].tolist())) > 2
    _, scores, *_ = answer_of(history, ends, theta)
    gaps = scores[:, :-1] - scores[:, 1:]
    assert ((gaps == 0) | (gaps >= 1e-5)).all()


def answer_of(*tensors: Tensor) -> Packed:
    return served().eager(*tensors)


def test_without_pruning_it_lists_what_the_task_s_plain_form_lists() -> None:
    (plain,) = NEXT_ITEM.release("plain", trained(), data())
    history, ends, _ = served().example(8, 1)
    ours = served().eager(history, ends, torch.zeros(8, 1))
    items, scores = plain.eager(history, ends)
    shared = min(items.shape[1], ours[0].shape[1])
    assert torch.equal(ours[0][:, :shared], items[:, :shared])
    torch.testing.assert_close(ours[1][:, :shared], scores[:, :shared])
    # Who has seen all items of a cluster is listed none.
    assert (items[:, :shared] > 0).any(1).sum() > 4
