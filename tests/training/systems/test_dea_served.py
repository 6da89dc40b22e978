"""What DEA serves is what it trained: absorbed codebooks and folded tables."""

from dataclasses import replace

import pytest
import torch

from kernels.combo_id_attention import coded_salt, reference
from tests.training.systems.dea_models import SMALL, data, features, model
from training.servable import Servable
from training.systems.dea import Config, servables, sides

VARIANTS = [
    *(pytest.param(replace(SMALL, fusion=mode), id=mode) for mode in ("add", "mul", "gate", "half")),
    *(pytest.param(replace(SMALL, layers=layers), id=f"{layers} layers") for layers in (2, 3)),
]


def ranker(config: Config = SMALL) -> Servable:
    (served,) = servables("dea", model(config), config, data())
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


@pytest.mark.parametrize("layers", [1, 2])
def test_items_answer_alike_joined_and_field_by_field(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, layers=layers)
    joined = ranker(config)
    monkeypatch.setattr(sides, "MOST_ELEMENTS", 0)
    by_field = ranker(config)
    assert {"items.table", "items.codes"} <= {*joined.module.state_dict()}
    assert {"items.ids", "items.rows.table"} <= {*by_field.module.state_dict()}
    user, _, ends = joined.example(3, 3)
    candidates = torch.randint(-1, 60, (int(ends[-1]),))
    (one,), (other,) = (served.eager(user, candidates, ends) for served in (joined, by_field))
    torch.testing.assert_close(one, other, rtol=0, atol=6e-8, equal_nan=True)


def test_pairs_of_served_ids_read_the_rows_that_training_wrote() -> None:
    trained = model()
    fields = slice(trained.num_request_fields, trained.num_fields)
    known = trained.embedding.known(features().ids)
    codes = reference.field_codes(known, trained.memory.salt)[:, fields]
    found = sides.FieldRows(trained, fields)(known[:, fields]).codes
    assert torch.equal(reference.field_codes(found, coded_salt(found.shape[1])), codes)


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
