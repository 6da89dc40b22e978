"""The step that reads a user's rows, as what is published: its eager answers and what it refuses."""

import numpy as np
import pytest
import torch

from tests.serving.row_models import ITEMS, ROWS, SHARES, USERS, step


def test_the_eager_answer_is_the_users_row_and_zeros_for_an_unknown_user() -> None:
    users = torch.tensor([[3], [-(2**63)], [2**63 - 1], [2**62], [0]])
    items, shares = step().eager(users, None, None)
    assert items.tolist() == [ITEMS[2].tolist(), [0] * 4, [0] * 4, ITEMS[5].tolist(), [0] * 4]
    assert shares.tolist() == [SHARES[2].tolist(), [0, 0], [0, 0], SHARES[5].tolist(), [0, 0]]


def test_outputs_are_the_arrays_as_they_are() -> None:
    specs = [(spec.name, spec.dtype, spec.shape) for spec in step().outputs]
    assert specs == [("items", "int64", (4,)), ("shares", "float32", (2,))]


@pytest.mark.parametrize(
    ("rows", "users", "message"),
    [
        ({}, USERS, r"rows holds \[\]; it needs arrays"),
        ({"keys": ITEMS}, USERS, "none of them called 'keys'"),
        (ROWS, USERS[::-1].copy(), "user_ids must be ascending, each user once"),
        (ROWS, USERS.astype(np.int32), r"user_ids is int32 \[6\]; it must be int64"),
        (ROWS, USERS[:0], "int64 .U. of some users"),
        ({"items": ITEMS[:-1]}, USERS, r"'items' has shape \[5, 4\]; it must be \[6, \.\.\.\]"),
        ({"items": ITEMS[:, 0]}, USERS, r"'items' has shape \[6\]"),
    ],
)
def test_rows_that_belong_to_no_user_are_refused(rows: dict[str, np.ndarray], users: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=f"model 'rows_history': .*{message}"):
        step(rows, users)
