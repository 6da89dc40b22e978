"""The step that reads prestored states, as what is published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.artifacts import Source
from export.repository import publish
from tests.export.models import release, state_of
from training.servable import Packed
from training.steps.user_state import BEFORE, user_state

SOURCE = Source(kind="run", name="runs/toy/1")
USERS = np.arange(10, 15)
HISTORY = np.arange(30).reshape(5, 6)


def test_the_eager_answer_is_the_encoders_for_the_users_history_and_for_zeros_where_there_is_none() -> None:
    encoder = release()[0]
    state = state_of(encoder, {"user_ids": USERS, "history": HISTORY})
    asked = torch.tensor([[12], [9], [10], [15], [-(2**63)], [2**63 - 1]])
    expected = encoder.eager(
        torch.from_numpy(np.stack([HISTORY[2], 0 * HISTORY[0], HISTORY[0], *[0 * HISTORY[0]] * 3]))
    )
    for found, wanted in zip(state.eager(asked, None, None), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ({"user_ids": np.arange(3)}, "histories holds"),
        ({"user_ids": np.array([2, 1]), "history": np.zeros((2, 6), np.int64)}, "ascending, each user once"),
        ({"user_ids": np.arange(3), "history": np.zeros((2, 6), np.int64)}, r"must be int64 \[3, \.\.\.\]"),
        ({"user_ids": np.arange(2), "history": np.zeros((2, 6), np.float32)}, "'history'.* is float32"),
    ],
)
def test_histories_that_do_not_fit_are_refused(histories: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=f"model 'user_state': .*{message}"):
        state_of(release()[0], histories)


def test_an_encoder_that_does_not_mark_its_states_is_refused() -> None:
    encoder = release()[0]
    with pytest.raises(ValueError, match="encoder 'encoder' has no int64 output 'stamp'"):
        state_of(
            replace(encoder, outputs=encoder.outputs[:1], eager=lambda history: encoder.eager(history)[:1]),
            {"user_ids": USERS, "history": HISTORY},
        )


def test_an_observer_that_does_not_fit_is_refused() -> None:
    encoder = release()[0]
    given = {"encoder": encoder, "histories": {"user_ids": USERS, "history": HISTORY}, "inputs": ()}
    reads = [replace(spec, name=f"{BEFORE}{spec.name}") for spec in encoder.outputs]
    blind = replace(encoder, name="two", inputs=(*reads,), outputs=())
    for observer, message in (
        (replace(encoder, name="one"), r"observer 'one' reads \['history'\]; it must read \['before_profile"),
        (blind, "observer 'two' answers otherwise than encoder 'encoder'"),
    ):
        with pytest.raises(ValueError, match=f"model 'user_state': {message}"):
            user_state("user_state", example=encoder.example, observer=observer, **given)


def test_an_encoder_without_a_state_for_an_empty_history_is_refused() -> None:
    encoder = release()[0]

    def nan_where_empty(history: Tensor) -> Packed:
        profile, stamp = encoder.eager(history)
        return profile / history.abs().sum().clamp(max=1), stamp

    with pytest.raises(ValueError, match=r"model 'user_state': .*finite for an empty history"):
        state_of(replace(encoder, eager=nan_where_empty), {"user_ids": USERS, "history": HISTORY})


def test_histories_may_be_of_any_int64_user(tmp_path: Path) -> None:
    encoder = release()[0]
    users = np.array([-(2**63), 0, 1, 2**62, 2**63 - 1])
    state = state_of(encoder, {"user_ids": users, "history": HISTORY})
    asked = torch.from_numpy(np.resize(users, 16))[:, None]
    far = replace(state, example=lambda batch_size, seed: (asked, *state.example(batch_size, seed)[1:]))
    assert publish(tmp_path, [encoder, far], SOURCE) == 1
