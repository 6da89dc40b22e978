"""What SGCTR says of an answer explains it."""

from functools import cache

import numpy as np
import torch

from tests.training.systems.generator_models import data, untrained
from tests.training.systems.sgctr_models import around, config_of
from training.servable import Signature
from training.systems.sgctr import SYSTEM
from training.systems.sgctr.explained import explained


@cache
def told() -> Signature:
    return SYSTEM.release(around(untrained(), rounds=2), config_of(rounds=2), data())[0]


def infer(model: str, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As a client asks, without a server."""
    assert model == "sgctr_rounds"
    inputs = [torch.from_numpy(request[spec.name]) for spec in told().inputs]
    return {spec.name: one.numpy() for spec, one in zip(told().outputs, told().eager(*inputs), strict=True)}


def test_an_answer_is_explained_by_what_was_redefined_and_by_how_much() -> None:
    request = {"user_id": np.array([[3]]), "candidates": np.array([[5, 9, 11, 17]])}
    scores = {"scores": np.array([[0.2, 0.9, 0.1, 0.3]])}
    tables = explained(infer, "sgctr", data().interactions, request, scores)
    assert [one.title.split(" (")[0] for one in tables] == [f"what was redefined of Item {n}" for n in (9, 17, 5)]
    assert tables[0].columns == (
        "field",
        "value",
        "of its vector gave way, round 1",
        "of its vector gave way, round 2",
        "likeliest value",
    )
    rows = {str(row[0]): row for row in tables[0].rows}
    assert [rows[name][2] for name in ("user_id", "item_id")] == ["", ""], "anchors"


def test_a_score_that_changed_is_never_explained_by_nothing() -> None:
    """However little a row is in doubt: what its fields gave up is said in full, and how far the answer follows."""
    users = np.arange(1, 41)
    answers = infer("sgctr_rounds", {"user_id": users[:, None], "item_id": users[:, None]})
    before, redefined, answered = answers["scores"].T
    doubt, given_up = answers["doubt"][:, 0], answers["given_up"]
    logit = [np.log(one / (1 - one)) for one in (before, redefined, answered)]
    np.testing.assert_allclose(logit[2], logit[0] + doubt * (logit[1] - logit[0]), rtol=1e-3, atol=1e-3)
    assert (given_up.max((1, 2)) > 0.05).all(), "of the generator's doubts, and not of the row's"
    assert 0 < (doubt == 0).sum() < 40
    for number, user in enumerate(users.tolist()):
        request = {"user_id": np.array([[user]]), "candidates": np.array([[user]])}
        (table,) = explained(infer, "sgctr", data().interactions, request, {"scores": np.array([[answered[number]]])})
        shares = [[str(cell) for cell in row[2:4] if cell] for row in table.rows]
        if doubt[number]:
            expected = [[f"{one:.1%}" for one in field if one >= 1e-3] for field in given_up[number].T.tolist()]
            assert shares == expected
            assert any(shares)
            assert f"answered {answered[number]:.4f}, {doubt[number]:.0%} of the way" in table.title
        else:
            assert not any(shares)
            assert table.title.endswith(f"nothing, as every field fits the others; score {before[number]:.4f}")
