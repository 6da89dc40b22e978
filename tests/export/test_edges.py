"""The edges of what a client may send: declared where the module ends, refused where the graph does."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.artifacts import Source
from export.edges import edge_cases, settled
from export.model_config import model_config
from export.onnx import export_onnx
from export.probe import Case, check_edges
from export.repository import publish
from export.signature import axis_bounds, check_signature
from tests.export.brought import (
    IDS,
    Brought,
    Forward,
    events_model,
    ids,
    ids_model,
    numbers,
    recurrent,
    repeating,
    table,
    tables,
)
from tests.serving import path_models
from training.servable import Axis, Bound, Packed, Servable, TensorSpec


def notes_of(model: Servable) -> tuple[Servable, list[str]]:
    notes: list[str] = []
    return settled(model, notes.append), notes


def bounds_of(model: Servable) -> tuple[Bound | None, Bound | None]:
    (spec,) = settled(model, lambda line: None).inputs
    return spec.minimum, spec.maximum


def attention(need_weights: bool) -> Brought:
    def forward(self: Any, x: Tensor) -> Tensor:
        later = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
        return self.attention(x, x, x, attn_mask=later, need_weights=need_weights)[0].sum(1)

    return Brought(forward, attention=nn.MultiheadAttention(4, 2, batch_first=True))


@pytest.mark.parametrize(
    ("forward", "least"),
    [
        (lambda self, x: x.sum(1), 0),
        (lambda self, x: x.mean(1), 1),
        (lambda self, x: x.amax(1), 1),
        (lambda self, x: self.gru(x)[0][:, -1], 1),
        (lambda self, x: self.conv(x.transpose(1, 2)).amax(2), 3),
        (lambda self, x: x.topk(4, 1).values.sum(1), 4),
        (lambda self, x: x[:, -1], 1),
    ],
)
def test_an_axis_starts_where_forward_answers(forward: Forward, least: int) -> None:
    module = Brought(forward, gru=nn.GRU(4, 4, batch_first=True), conv=nn.Conv1d(4, 4, 3))
    model, notes = notes_of(events_model(module))
    assert axis_bounds(model)["length"].least == least
    assert notes == (
        [f"brought: axis 'length' starts at {least}, as forward cannot answer less: less is refused"] * (least > 0)
    )


def test_a_ragged_input_starts_where_forward_answers() -> None:
    def forward(self: Any, user: Tensor, candidates: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        return self.items(candidates).sum(-1) + self.items(candidates).amax(), candidates

    def never_empty(batch_size: int, seed: int) -> Packed:
        ends = 2 * torch.arange(1, batch_size + 1, dtype=torch.int32)
        return torch.ones(batch_size, dtype=torch.int64), torch.ones(2 * batch_size, dtype=torch.int64), ends

    module = Brought(forward, items=table())
    model = replace(repeating(), module=module, eager=module.forward, example=never_empty)
    assert settled(model, lambda line: None).inputs[1].min_elements == 1
    assert settled(repeating(), lambda line: None).inputs[1].min_elements is None


def test_a_declared_least_size_that_forward_cannot_answer_is_refused() -> None:
    module = Brought(lambda self, x: self.conv(x.transpose(1, 2)).amax(2), conv=nn.Conv1d(4, 4, 3))
    message = "raised RuntimeError.*where axis 'length' has its declared least size 2; declare a larger one"
    with pytest.raises(ValueError, match=message):
        settled(events_model(module, length_axis=Axis("length", least=2)), lambda line: None)


@pytest.mark.parametrize(
    ("need_weights", "end"), [(True, r"ONNX Runtime ends its process \(SIG\w+\)"), (False, "ONNX Runtime fails")]
)
def test_a_graph_that_cannot_answer_what_forward_answers_is_refused_by_axis_and_size(
    tmp_path: Path, need_weights: bool, end: str
) -> None:
    source = Source(kind="factory", name="tests")
    message = rf"axis 'length' of size 0 \(batch of 1\): forward answers, but {end}.*Axis\('length', least=1\)"
    with pytest.raises(ValueError, match=message) as caught:
        publish(tmp_path / "repository", [events_model(attention(need_weights))], source)
    assert "\n" not in str(caught.value)


def test_a_declared_least_size_is_enough_for_such_a_graph(tmp_path: Path) -> None:
    declared = events_model(attention(True), length_axis=Axis("length", least=1, greatest=30))
    publish(tmp_path / "repository", [declared], Source(kind="factory", name="tests"))


def test_the_first_case_on_which_graph_and_module_differ_is_named(tmp_path: Path) -> None:
    model = recurrent()
    export_onnx(model, tmp_path / "model.onnx")
    good = (numbers(1, 0, 5, 4),)
    right = {"answer": model.eager(*good)[0].numpy()}
    empty = (torch.zeros(1, 0, 4),)
    check_edges(model, tmp_path / "model.onnx", [Case("five", good, right, "no remedy")])
    wrong = Case("also five", good, {"answer": right["answer"] + 1}, "see to it")
    with pytest.raises(
        ValueError, match=r"'recurrent', also five: forward answers output 'answer'\[0, \d\] .*; see to it"
    ):
        check_edges(model, tmp_path / "model.onnx", [Case("five", good, right, ""), wrong])
    for expected in (None, right):
        cases = [Case("five", good, right, ""), Case("none", empty, expected, ""), wrong]
        with pytest.raises(ValueError, match=r"none: forward \w+, (but|and) ONNX Runtime ends its process"):
            check_edges(model, tmp_path / "model.onnx", cases)
    with pytest.raises(ValueError, match="five: forward raises, the graph answers"):
        check_edges(model, tmp_path / "model.onnx", [Case("five", good, None, "")])


def test_a_model_that_takes_one_request_at_a_time_is_tried_with_one() -> None:
    of_any = events_model(Brought(lambda self, x: x.sum(1)))
    assert {len(case.tensors[0]) for case in edge_cases(of_any)} >= {1, 2}
    assert {len(case.tensors[0]) for case in edge_cases(replace(of_any, max_batch_size=1))} == {1}


def test_an_axis_ends_where_forward_ends() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return (x + self.positions(torch.arange(x.shape[1]))).sum(1)

    model, notes = notes_of(events_model(Brought(forward, positions=table(37))))
    assert axis_bounds(model) == {"length": (0, 37)}
    assert notes == ["brought: axis 'length' ends at 37, as forward cannot answer more: more is refused"]
    assert {len(case.tensors[0][0]) for case in edge_cases(model)} == {0, 37}


def test_the_declared_greatest_size_is_tried() -> None:
    model = events_model(Brought(lambda self, x: x.sum(1)), length_axis=Axis("length", least=2, greatest=300))
    assert {case.tensors[0].shape[:2] for case in edge_cases(model)} == {(1, 2), (2, 2), (1, 300)}


ROWS = table()


@pytest.mark.parametrize(
    ("forward", "bounds"),
    [
        (lambda self, ids: self.rows(ids).sum(1), (0, 19)),
        (lambda self, ids: self.rows(ids + 1 - 2).sum(1), (1, 20)),
        (lambda self, ids: self.rows(ids // 2).sum(1), (0, 39)),
        (lambda self, ids: self.rows.weight.index_select(0, ids.flatten()).view(-1, 3, 4).sum(1), (0, 19)),
        (lambda self, ids: self.rows.weight[ids].sum(1), (-20, 19)),
        (lambda self, ids: functional.one_hot(ids.long(), 20).float().sum(1) @ self.rows.weight, (0, 19)),
        (lambda self, ids: torch.zeros(ids.shape[0], 20).scatter(1, ids.long(), 1.0) @ self.rows.weight, (0, 19)),
        (lambda self, ids: self.rows(ids.clamp(min=0)).sum(1), (None, 19)),
        (lambda self, ids: self.rows(ids.clamp(0, 19)).sum(1), (None, None)),
        (lambda self, ids: self.rows(ids % 20).sum(1), (None, None)),
        (lambda self, ids: self.rows(ids + torch.tensor([0, 5, 10]) - 10).sum(1), ((10, 5, 0), (29, 24, 19))),
        (
            lambda self, ids: self.rows(torch.cat([ids[:, :1] % 20, ids[:, 1:]], 1)).sum(1),
            ((None, 0, 0), (None, 19, 19)),
        ),
        (lambda self, ids: ids.float().sum(1, keepdim=True).expand(-1, 4), (None, None)),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_ids_end_where_forward_ends(forward: Forward, bounds: tuple[Bound | None, Bound | None], dtype: str) -> None:
    low = 10 if bounds == ((10, 5, 0), (29, 24, 19)) else 1
    spec = replace(IDS, dtype=dtype)
    assert bounds_of(ids_model(Brought(forward, rows=ROWS), spec, low=low)) == bounds


def test_bounds_that_were_declared_stay() -> None:
    declared = ids_model(Brought(lambda self, ids: self.rows(ids).sum(1), rows=ROWS), replace(IDS, minimum=1), low=1)
    model, notes = notes_of(declared)
    assert (model.inputs[0].minimum, model.inputs[0].maximum) == (1, 19)
    assert notes == ["brought: input 'ids' takes values from 1 to 19, as forward does: others are refused"]


@pytest.mark.parametrize(
    ("forward", "spec"),
    [
        (lambda self, ids: self.rows(ids).sum(1), replace(IDS, minimum=-1)),
        (lambda self, ids: self.rows(torch.cat([ids[:, :1], ids[:, 1:].clamp(0)], 1)).sum(1), replace(IDS, minimum=-5)),
    ],
)
def test_a_declared_minimum_below_a_table_is_refused(tmp_path: Path, forward: Forward, spec: TensorSpec) -> None:
    message = (
        r"input 'ids' with -1 at \[0, 0\]: forward raises, the graph answers; declare minimum and maximum of 'ids'"
    )
    with pytest.raises(ValueError, match=message):
        publish(
            tmp_path / "repository",
            [ids_model(Brought(forward, rows=ROWS), spec)],
            Source(kind="factory", name="tests"),
        )


def test_an_example_below_the_end_of_another_position_keeps_the_minimum_open() -> None:
    def forward(self: Any, nested: Tensor) -> Tensor:
        row = nested[:, 0]
        return self.rows(torch.cat([row[:, :1].clamp(0), row[:, 1:].abs()], 1)).sum(1) + self.rows(row[:, 2] + 3)

    model = replace(
        ids_model(Brought(forward, rows=table(30))),
        inputs=(replace(IDS, shape=(1, 3)),),
        example=lambda batch_size, seed: (ids(batch_size, seed, 1, 3, low=-3),),
    )
    assert bounds_of(model)[0] == -3


def test_each_place_of_an_input_of_fields_has_its_own_ends() -> None:
    model, notes = notes_of(tables())
    assert (model.inputs[0].minimum, model.inputs[0].maximum) == ((0, -20, 0), (39, 19, 39))
    assert notes == [
        "tables: input 'ids' takes values from 0 to 39 at place 0, -20 to 19 at place 1, 0 to 39 at place 2, "
        "as forward does: others are refused"
    ]


@pytest.mark.parametrize(("shape", "bound"), [((3,), (0, 1)), (("length",), (0,)), ((1, 3), (0, 0, 0)), ((), (0,))])
def test_bounds_of_places_need_that_many_places(shape: tuple[int | str, ...], bound: tuple[int, ...]) -> None:
    model = ids_model(Brought(lambda self, ids: ids), replace(IDS, shape=shape, minimum=bound))
    with pytest.raises(ValueError, match=rf"{len(bound)} bounds need an input of shape"):
        check_signature(model)


@pytest.mark.parametrize("bound", [(0, None, 5), (None, None, None)])
def test_declared_bounds_of_places_travel(bound: tuple[int | None, ...]) -> None:
    model = ids_model(Brought(lambda self, ids: ids), replace(IDS, minimum=bound))
    parameters = model_config(model, "cpu").parameters
    assert parameters["minimum.ids"].string_value == ",".join("" if one is None else str(one) for one in bound)


@pytest.mark.parametrize("axis", [Axis("length", least=-1), Axis("length", least=3, greatest=2), Axis("length", 0, 0)])
def test_sizes_that_hold_nothing_are_refused(axis: Axis) -> None:
    model = events_model(Brought(lambda self, x: x.sum(1)), length_axis=axis)
    with pytest.raises(ValueError, match=re.escape("axis 'length': sizes from")):
        check_signature(model)


def test_axes_that_follow_another_are_tried_in_step_with_it() -> None:
    """Masks and weights of no other number are tried, as a backend refuses them."""
    scorer = path_models.release()[1]
    assert isinstance(scorer, Servable)
    for one in edge_cases(scorer):
        number = len(one.tensors[0])
        assert (len(one.tensors[1]), len(one.tensors[2])) == (4 * number, 5 * number), one.what
