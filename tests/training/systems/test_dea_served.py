"""What DEA serves is what it trained: absorbed codebooks, folded tables, both forms, the running server."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.kinds import kernel_forms
from export.onnx import export_onnx
from export.parity import ParityOptions, walk
from export.repository import publish
from export.verify import verify_onnx
from serving.backends.recserve.program import hot_ops, load_program
from tests.training.systems.dea_models import SMALL, data, model
from training.layers.requests import fields_of
from training.servable import Servable
from training.systems.dea import Config, servables
from training.systems.dea.servables import score_split

VARIANTS = [
    *(pytest.param(replace(SMALL, fusion=mode), id=mode) for mode in ("add", "mul", "gate", "half")),
    *(pytest.param(replace(SMALL, layers=layers), id=f"{layers} layers") for layers in (2, 3)),
]


def ranker(config: Config = SMALL) -> Servable:
    (served,) = servables(model(config), config, data())
    assert isinstance(served, Servable)
    return served


@pytest.mark.parametrize("config", VARIANTS)
def test_the_served_form_equals_the_training_form(config: Config) -> None:
    served = ranker(config)
    assert served.reference is not None
    assert served.eager64 is not None
    inputs = served.example(12, 3)
    (exact,), (in64,), (in32,) = served.reference(*inputs), served.eager64(*inputs), served.eager(*inputs)
    assert float(exact.std()) > 0.01
    torch.testing.assert_close(in64, exact, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(in32, exact.float(), rtol=1e-5, atol=1e-5)


def test_a_request_means_the_users_latest_fields_and_the_items_own() -> None:
    ids = fields_of(data(), int(data().user_ids[3]), torch.tensor([7, 0, 2**40, -5]))
    assert ids[0].tolist() == [*data().user_rows[3], *data().item_rows[7]]
    assert ids[1:, 3:].abs().max() == 0
    assert fields_of(data(), 2**40, torch.tensor([7]))[0, :3].tolist() == [0, 0, 0]


def test_unknown_ids_are_scored_and_negative_items_are_never_answered() -> None:
    served = ranker()
    user, candidates = torch.tensor([[3], [-1], [2**40]]), torch.tensor([5, -2, 5, 5, 2**40, 0])
    (scores,) = served.eager(user, candidates, torch.tensor([2, 3, 6], dtype=torch.int32))
    assert torch.isnan(scores).tolist() == [False, True, False, False, False, False]
    assert scores[4] == scores[5], "both are the unknown item"
    assert scores[2] == scores[3], "any user whom nobody knows has the same empty history"


def test_a_candidate_is_scored_alike_alone_and_in_company() -> None:
    served = ranker(replace(SMALL, layers=2))
    user, candidates, ends = served.example(7, 1)
    (together,) = served.eager(user, candidates, ends)
    start = int(ends[4])
    one = torch.tensor([1], dtype=torch.int32)
    (alone,) = served.eager(user[5:6], candidates[start : start + 1], one)
    torch.testing.assert_close(alone[0], together[start], rtol=1e-6, atol=1e-7)


def test_two_layers_are_exported_with_the_hot_op(tmp_path: Path) -> None:
    served = ranker(replace(SMALL, layers=2))
    export_onnx(served, tmp_path / "model.onnx")
    assert verify_onnx(served, tmp_path / "model.onnx") < 1e-5
    assert (tmp_path / "model.onnx").read_bytes().count(b"ComboIdAttention") >= 2


def test_each_sample_of_a_split_is_asked_for_by_its_user_and_item() -> None:
    split = data().test
    asked = []

    def infer(name: str, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        asked.append(name)
        return {"scores": (1000 * request["user_id"] + request["candidates"]).astype(np.float32)}

    wide = replace_ids(split.ids)
    split.ids, kept = wide, split.ids
    try:
        scores = score_split(infer, split, Config())
    finally:
        split.ids = kept
    assert scores.tolist() == (1000 * split.user + wide[:, 5]).tolist()
    assert asked == ["dea_ranker"] * len(np.unique(split.user))
    with pytest.raises(ValueError, match="users of 'hin-amazon' change with time"):
        score_split(infer, split, Config(dataset="hin-amazon"))


def replace_ids(ids: np.ndarray) -> np.ndarray:
    """Five fields of the user and three of the item, as ml-100k-fields has them."""
    return np.concatenate([ids[:, :3], ids[:, :2], ids[:, 3:]], axis=1)


@pytest.mark.slow
@pytest.mark.triton_server
def test_dea_is_served_in_both_forms_with_the_same_answers(tmp_path: Path) -> None:
    release = servables(model(), SMALL, data())
    forms = kernel_forms(release)
    assert [form.name for form in forms] == ["dea_ranker_kernel"]
    publish(tmp_path, (*release, *forms), Source(kind="factory", name="tests.training.systems.dea_models:model"))
    program, _ = load_program(tmp_path / "dea_ranker_kernel" / "1" / "model.pt2")
    assert hot_ops(program) == {"recserve::combo_id_attention"}
    ladder = walk(tmp_path, ParityOptions(requests=100))
    assert ladder.ok, ladder.rows[-1]
    assert {row.rung for row in ladder.rows if row.model == "dea_ranker"} == {"model", "export", "served", "concurrent"}
    assert {row.rung for row in ladder.rows if row.model == "dea_ranker_kernel"} == {"model", "kernel", "concurrent"}
