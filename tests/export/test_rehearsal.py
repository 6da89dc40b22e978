"""A module that fails on its own example, or answers a request in more than one way, is refused before the exporter."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export import eager
from export.rehearsal import rehearse
from tests.export.brought import (
    ANSWER,
    CANDIDATES,
    DENSE,
    ENDS,
    PUBLISHED,
    SCORES,
    USER,
    Brought,
    Forward,
    dense_model,
    numbers,
    ragged,
    table,
)
from training.servable import Packed, Servable, TensorSpec, servable

DIFFERENT = r"output '{0}'\[.*\] of request \d+ is .* alone and .* in a batch .* get different answers"


def ragged_model(forward: Forward) -> Servable:
    return servable(
        name="brought",
        module=Brought(forward, items=table(), users=table()),
        inputs=[USER, CANDIDATES, ENDS],
        outputs=[SCORES],
        example=ragged,
    )


def refusal(model: Servable) -> str:
    with pytest.raises(ValueError, match=r"^model 'brought'") as caught:
        rehearse(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("factory", PUBLISHED)
def test_a_good_module_passes(factory: Callable[[], Servable]) -> None:
    rehearse(factory())


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: x.softmax(0),
        lambda self, x: x - x.mean(0),
        lambda self, x: x.sort(0).values,
        lambda self, x: x.cumsum(0),
        lambda self, x: x.flip(0).cumsum(0).flip(0),
        lambda self, x: x / x.norm(),
        lambda self, x: x + x[:1],
        lambda self, x: x + x[-1:],
        lambda self, x: x.roll(1, 0),
        lambda self, x: x * x.shape[0],
    ],
)
def test_a_request_that_sees_its_neighbours_is_refused_by_output(forward: Forward) -> None:
    message = refusal(dense_model(Brought(forward)))
    assert re.search(DIFFERENT.format("answer"), message)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: x / x.abs().max().clamp(min=30.0),
        lambda self, x: x - x.amin(0).clamp(max=-30.0),
        lambda self, x: x * (x.abs().sum() < 200.0),
    ],
)
def test_a_neighbour_that_only_shows_in_values_of_no_example_is_found(forward: Forward) -> None:
    message = refusal(dense_model(Brought(forward)))
    assert re.search(r"is .* alone and .* in a batch with a request of \w+ values: .* get different answers", message)


def test_a_longest_length_of_the_batch_is_found_although_all_examples_are_equally_long() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = table()

        def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
            mask = torch.arange(items.shape[1])[None] < lengths.max()
            return (self.items(items).sum(-1) * mask).sum(1, keepdim=True).expand(-1, 4)

    model = servable(
        name="brought",
        module=Padded(),
        inputs=[
            TensorSpec(name="items", dtype="int64", shape=(6,)),
            TensorSpec(name="lengths", dtype="int64", shape=(1,)),
        ],
        outputs=[ANSWER],
        example=lambda batch_size, seed: (torch.arange(6).expand(batch_size, 6), torch.full((batch_size, 1), 6)),
    )
    assert "get different answers" in refusal(model)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, user, candidates, ends: self.items(candidates).sum(-1).softmax(0),
        lambda self, user, candidates, ends: self.items(candidates).sum(-1).cumsum(0),
        lambda self, user, candidates, ends: self.items(candidates).sum(-1) - self.users(user).mean(),
        lambda self, user, candidates, ends: self.items(candidates).sum(-1) * ends[-1],
    ],
)
def test_packed_candidates_that_see_another_request_are_refused(forward: Forward) -> None:
    message = refusal(ragged_model(forward))
    assert re.search(DIFFERENT.format("scores"), message)


def test_batches_are_mixed_of_several_examples_where_one_holds_the_same_request_throughout() -> None:
    def alike(batch_size: int, seed: int) -> Packed:
        return (torch.full((batch_size, 4), float(seed)),)

    message = refusal(dense_model(Brought(lambda self, x: x - x.mean(0)), example=alike))
    assert "output 'answer'" in message


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_that_takes_the_mean_of_the_batch_is_refused(train: bool) -> None:
    model = dense_model(Brought(lambda self, x: self.norm(x), norm=nn.BatchNorm1d(4, track_running_stats=train)))
    model.module.get_submodule("norm").train(train)
    message = refusal(model)
    assert "outputs ['answer'] are answered for 16 requests and not for one of them" in message
    assert "Expected more than 1 value per channel" in message


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.plain, self.number = torch.zeros(1), 0


def counted(self: Any, x: Tensor) -> Tensor:
    self.count.number += 1
    return x + self.count.number


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: x + self.count.calls.add_(1), "asked twice: its forward keeps a state"),
        (lambda self, x: x + self.count.plain.add_(1), "asked twice: its forward keeps a state"),
        (counted, "asked twice: its forward keeps a state"),
        (lambda self, x: x + 0 * self.count.calls.add_(1), "its forward changes 'count.calls' of the module in place"),
        (lambda self, x: x + torch.rand_like(x), "operator 'aten.rand_like.default' in its forward is random"),
        (lambda self, x: functional.dropout(x, 0.5, True), "operator 'aten.bernoulli_.float' in its forward is random"),
        (lambda self, x: x[:, torch.randperm(4)], "operator 'aten.randperm.default' in its forward is random"),
    ],
)
def test_a_module_that_answers_otherwise_the_second_time_is_refused(forward: Forward, message: str) -> None:
    assert message in refusal(dense_model(Brought(forward, count=Counting())))


def test_an_input_that_forward_changes_in_place_stays_what_the_client_sent() -> None:
    model = dense_model(Brought(lambda self, x: x.sub_(1.0).div_(2.0) + 1.0))
    rehearse(model)
    sent = numbers(2, 0, 4)
    eager.ask(model, (sent,))
    assert torch.equal(sent, numbers(2, 0, 4))


def missing(self: Any, x: Tensor) -> Tensor:
    return {"x": x}["neg"]


def unfit(self: Any, x: Tensor) -> Tensor:
    return functional.linear(x, torch.zeros(3, 5))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            missing,
            r"its forward raised KeyError: 'neg' \(.*test_rehearsal\.py:\d+, in missing\), on inputs dense \[16, 4\]",
        ),
        (unfit, r"its forward raised RuntimeError: .* \(.*test_rehearsal\.py:\d+, in unfit\)"),
    ],
)
def test_what_forward_raises_is_shown_with_its_type_and_line(forward: Forward, message: str) -> None:
    assert re.search(message, refusal(dense_model(Brought(forward))))


def test_what_the_example_raises_is_shown_with_its_type_and_line() -> None:
    def example(batch_size: int, seed: int) -> Packed:
        raise KeyError("features.parquet")

    message = refusal(dense_model(Brought(lambda self, x: x), example=example))
    assert "its example(16, 0) raised KeyError: 'features.parquet' (" in message
    assert "test_rehearsal.py:" in message


@pytest.mark.parametrize("result", [None, torch.zeros(16, 4), (1.0,), "text"])
def test_an_example_that_is_no_tuple_of_tensors_is_refused(result: object) -> None:
    model = dense_model(Brought(lambda self, x: x), example=lambda batch_size, seed: result)
    assert "its example(16, 0) returned a" in refusal(model)


@pytest.mark.parametrize(
    ("forward", "shape", "message"),
    [
        (lambda self, x: x.sum(1), (1,), "declare shape=() for 'answer', or return it as [batch, 1]"),
        (lambda self, x: x[:, :1], (), "declare shape=(1,) for 'answer', or return it as [batch]"),
        (lambda self, x: x.double(), (4,), "found float64 [16, 4]; return 'answer' as .to(torch.float32)"),
        (lambda self, x: torch.complex(x, x), (4,), "tritonserver has no complex type"),
        (lambda self, x: x.sum(), (4,), "'answer' is one number for the whole batch"),
        (lambda self, x: self.weight, (4,), "found float32 [3, 4], but axis 'batch' is 16"),
        (lambda self, x: x, ("other",), "no input has the axes ['other'] of its outputs"),
        (lambda self, x: None, (4,), "forward returned None"),
    ],
)
def test_outputs_that_do_not_fit_are_named_with_what_to_do(
    forward: Forward, shape: tuple[int | str, ...], message: str
) -> None:
    outputs = [TensorSpec(name="answer", dtype="float32", shape=shape)]
    module = Brought(forward, weight=nn.Parameter(torch.zeros(3, 4)))
    assert message in refusal(dense_model(module, outputs=outputs))


def test_a_tensor_that_wants_a_gradient_is_no_obstacle() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.layer(x)

    rehearse(
        servable(
            name="brought",
            module=Brought(forward, layer=nn.Linear(4, 4)),
            inputs=[DENSE],
            outputs=[ANSWER],
            example=lambda batch_size, seed: (numbers(batch_size, seed, 4),),
        )
    )
