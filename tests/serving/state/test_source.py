import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from serving.state.source import EncoderError, Histories, StateSource, StateSpec
from tests.serving import state_models as tiny


def test_a_question_holds_the_users_own_history(tmp_path: Path):
    question = tiny.source(tmp_path).question(8)
    assert question.lookup.key == ("user_state", tiny.STAMP, 8)
    np.testing.assert_array_equal(question.inputs["history"], tiny.HISTORIES[2:3])
    np.testing.assert_array_equal(question.inputs["length"], [[3]])


@pytest.mark.parametrize("user", [-1, 4, 90, 1 << 62])
def test_a_user_without_a_history_has_no_question_and_who_asks_for_one_is_told_why(tmp_path: Path, user: int):
    source = tiny.source(tmp_path)
    assert source.find(user) is None
    with pytest.raises(ValueError, match=f"user_id {user}: no history is stored for this user, who is scored with"):
        source.question(user)


def test_users_at_both_ends_of_int64_are_told_apart(tmp_path: Path):
    users = np.array([-(2**63), 0, 1, 2**62, 2**63 - 1])
    rows = {"history": np.arange(20).reshape(5, 4), "length": np.full((5, 1), 4)}
    save_file({"user_ids": users, **rows}, tmp_path / "histories.safetensors")
    histories = Histories(tmp_path / "histories.safetensors", ("history", "length"))
    for row, user in enumerate(users.tolist()):
        found = histories.of(user)
        assert found is not None
        np.testing.assert_array_equal(found["history"], rows["history"][row : row + 1])
    assert [histories.of(user) for user in (-(2**63) + 1, -1, 2**62 + 1, 2**63 - 2)] == [None] * 4


def test_the_empty_history_is_a_row_of_zeros_in_the_shape_of_the_others(tmp_path: Path):
    empty = tiny.source(tmp_path).histories.empty
    assert {name: (array.dtype, array.tolist()) for name, array in empty.items()} == {
        "history": (np.int64, [[0, 0, 0, 0]]),
        "length": (np.int64, [[0]]),
    }


def test_states_are_computed_in_the_order_of_the_questions(tmp_path: Path):
    source = tiny.source(tmp_path)
    states = source.compute([source.question(user) for user in (89, 3)], tiny.encode)
    np.testing.assert_array_equal(states[0]["keys"], tiny.keys_of(89))
    np.testing.assert_array_equal(states[1]["keys"], tiny.keys_of(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stamp": None}, "without 'stamp'"),
        ({"stamp": np.array([[78]])}, "encoder has stamp 78, user_state version 1 needs 77"),
        ({"keys": np.zeros((1, 2, 2))}, "keys as float64"),
        ({"keys": np.zeros((1, 2, 3), np.float32)}, r"\[1, 2, 3\], not as float32 \[1, 2, 2\]"),
        ({"keys": np.zeros((2, 2, 2), np.float32)}, r"\[2, 2, 2\], not as float32 \[1, 2, 2\]"),
    ],
)
def test_an_answer_that_is_no_state_of_this_version_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
):
    def answer(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = tiny.encode(inputs) | change
        return {name: array for name, array in outputs.items() if array is not None}

    source = tiny.source(tmp_path)
    with pytest.raises(EncoderError, match=message):
        source.compute([source.question(8)], answer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": None}, "TypeError"),
        ({"surprise": 1}, "surprise"),
        ({"outputs": tiny.OUTPUTS[:1]}, "no 'stamp'"),
        ({"encoder_max_batch_size": 0}, "encoder_max_batch_size is 0"),
    ],
)
def test_a_wrong_description_is_refused_and_names_the_file(tmp_path: Path, change: dict[str, object], message: str):
    file = tiny.write_state_model(tmp_path) / "state.json"
    fields = json.loads(file.read_text()) | change
    file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    with pytest.raises(ValueError, match=rf"state\.json does not describe a user state.*{message}"):
        StateSpec.read(file)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"user_ids": np.array([3, 3]), "history": np.zeros((2, 4))}, "not in strictly ascending order"),
        ({"user_ids": np.array([3, 4]), "history": np.zeros((3, 4))}, "history has 3 rows for 2 users"),
        ({"user_ids": np.array([3, 4])}, "holds no histories"),
    ],
)
def test_histories_that_do_not_fit_their_users_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str):
    save_file(arrays, tmp_path / "histories.safetensors")
    with pytest.raises(ValueError, match=message):
        Histories(tmp_path / "histories.safetensors", ["history"])


def test_a_damaged_histories_file_is_refused_and_named(tmp_path: Path):
    (tiny.write_state_model(tmp_path) / "histories.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"histories\.safetensors holds no histories"):
        StateSource(tmp_path, "user_state", 1)
