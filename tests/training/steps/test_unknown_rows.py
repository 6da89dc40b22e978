"""The rows that an unknown user reads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from training.servable import StepServable, TensorSpec
from training.steps.rows import Rows
from training.steps.user_rows import ROWS_FILE, user_rows

USERS = np.array([-4, 2, 9])
ROWS = {"items": np.arange(6).reshape(3, 2) + 1, "share": np.array([[0.5], [np.nan], [0.25]], np.float32)}
UNKNOWN = {"items": np.array([7, 8]), "share": np.array([np.nan], np.float32)}
ASKED = torch.tensor([[9], [3], [-4], [-(2**63)]])


def step(unknown: dict[str, np.ndarray] | None) -> StepServable:
    return user_rows(
        "some_history",
        user_ids=USERS,
        rows=ROWS,
        unknown=unknown,
        inputs=(TensorSpec(name="user_id", dtype="int64", shape=(1,)),),
        example=lambda size, _seed: (torch.zeros(size, 1, dtype=torch.int64),),
    )


def test_an_unknown_user_reads_the_given_rows_or_else_zeros() -> None:
    items, share = step(UNKNOWN).eager(ASKED)
    assert items.tolist() == [[5, 6], [7, 8], [1, 2], [7, 8]]
    np.testing.assert_array_equal(share[:, 0], np.array([0.25, np.nan, 0.5, np.nan], np.float32))
    items, share = step(None).eager(ASKED)
    assert items.tolist() == [[5, 6], [0, 0], [1, 2], [0, 0]]
    assert share[:, 0].tolist() == [0.25, 0.0, 0.5, 0.0]


def test_the_file_has_them_beside_the_others_by_name(tmp_path: Path) -> None:
    step(UNKNOWN).write(tmp_path, {})
    arrays = load_file(tmp_path / ROWS_FILE)
    assert arrays.keys() == {"keys", "items", "share", "unknown.items", "unknown.share"}
    for name, array in UNKNOWN.items():
        np.testing.assert_array_equal(arrays[f"unknown.{name}"], array)
    step(None).write(tmp_path, {})
    assert load_file(tmp_path / ROWS_FILE).keys() == {"keys", "items", "share"}


@pytest.mark.parametrize(
    ("unknown", "message"),
    [
        ({"items": UNKNOWN["items"]}, r"unknown has rows of \['items'\]; it must have those of \['items', 'share'\]"),
        ({**UNKNOWN, "items": np.zeros(3, np.int64)}, r"the unknown user's 'items' is int64 \[3\]; .* int64 \[2\]"),
        ({**UNKNOWN, "share": np.zeros(1)}, r"the unknown user's 'share' is float64 \[1\]; it must be float32 \[1\]"),
    ],
)
def test_rows_unlike_the_others_are_refused(unknown: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rows(USERS, ROWS, unknown)
    with pytest.raises(ValueError, match=f"model 'some_history': .*{message}"):
        step(unknown)
