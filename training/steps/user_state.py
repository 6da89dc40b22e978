"""The step that reads a user's prestored state, or asks an encoder for it on a miss and writes it back.

Axes: U users with a stored history.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from serving.histories.ragged import packed
from serving.histories.reading import AGES, ITEMS, NAMES
from serving.state.observing import BEFORE
from training.servable import Packed, Servable, StepServable, TensorSpec
from training.steps.rows import Rows

KIND = "user_state"
STATE_FILE = "state.json"
HISTORIES_FILE = "histories.safetensors"
ENCODER, OBSERVER = "encoder", "observer"
"""What the models that compute a state are to the step: from a history, and from the state before its newest event."""
STAMP = TensorSpec(name="stamp", dtype="int64", shape=(1,))
"""Output of an encoder: the fingerprint of its weights, which the scorer compares with its own."""


def user_state(
    name: str,
    *,
    encoder: Servable,
    histories: Mapping[str, np.ndarray],
    inputs: tuple[TensorSpec, ...],
    example: Callable[[int, int], Packed],
    observer: Servable | None = None,
) -> StepServable:
    """Outputs are the encoder's, one of them `stamp`, for the history of the user who asks.

    `histories` hold `user_ids` int64 [U], ascending, and per encoder input of the same name an array with U rows. Zeros
    in all of them are the empty history, with which a user who is not there is scored. `inputs` are `user_id` [1] and
    what must be checked before work is done (ragged candidates).

    `observer` adds one event to a state, so that a stored one need not be computed anew when events arrive. It reads
    the newest events of the history with that event, as the encoder does but fewer of them, and the state without it,
    each tensor under its name behind `before_`; it answers as the encoder would to the whole history.
    Raises ValueError where histories, encoder and observer do not fit, or where there is no state for the empty
    history.
    """
    asked = [spec.name for spec in encoder.inputs if spec.of is None]
    for problem in (*_history_problems(encoder, histories), *_observer_problems(encoder, observer)):
        raise ValueError(f"model '{name}': {problem}")
    rows = Rows(histories["user_ids"], {one: histories[one] for one in asked})
    stamp = _checked_stamp(name, encoder, tuple(torch.from_numpy(np.zeros_like(histories[one][:1])) for one in asked))

    def eager(user_id: Tensor, *others: Tensor) -> Packed:
        return encoder.eager(*rows.of(user_id))

    def write(folder: Path, asks: Mapping[str, str]) -> None:
        arrays = {key: np.ascontiguousarray(array) for key, array in packed(histories).items()}
        save_file(arrays, folder / HISTORIES_FILE)
        outputs = [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in encoder.outputs]
        size = encoder.max_batch_size
        state = {**asks, "stamp": stamp, "inputs": asked, "encoder_max_batch_size": size, "outputs": outputs}
        state |= {} if observer is None else {"tail": tail_of(observer)}
        (folder / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n")

    return StepServable(
        name=name,
        inputs=inputs,
        outputs=encoder.outputs,
        example=example,
        eager=eager,
        kind=KIND,
        write=write,
        asks={ENCODER: encoder.name} | ({} if observer is None else {OBSERVER: observer.name}),
        reads_histories={*NAMES} <= set(asked),
    )


def _history_problems(encoder: Servable, histories: Mapping[str, np.ndarray]) -> Iterator[str]:
    asked = [spec for spec in encoder.inputs if spec.of is None]
    expected = {"user_ids", *(spec.name for spec in asked)}
    if set(histories) != expected:
        yield f"histories holds {sorted(histories)}; it must hold {sorted(expected)}"
        return
    users = histories["user_ids"]
    if users.dtype != np.int64 or users.ndim != 1 or not len(users) or (users[1:] <= users[:-1]).any():
        yield "histories['user_ids'] must be int64 [U], ascending, each user once"
    for spec in asked:
        array = histories[spec.name]
        if len(array) != len(users) or array.dtype != spec.dtype:
            found = f"{array.dtype} {list(array.shape)}"
            yield f"histories['{spec.name}'] is {found}; it must be {spec.dtype} [{len(users)}, ...]"


def tail_of(observer: Servable) -> int:
    """Newest events that it reads."""
    (width,) = (spec.shape[0] for spec in observer.inputs if spec.name == ITEMS)
    assert isinstance(width, int)
    return width


def _observer_problems(encoder: Servable, observer: Servable | None) -> Iterator[str]:
    if observer is None:
        return
    history = {spec.name for spec in encoder.inputs} & {*NAMES, AGES}
    expected = {*history, *(f"{BEFORE}{spec.name}" for spec in encoder.outputs)}
    if (found := {spec.name for spec in observer.inputs}) != expected:
        yield f"observer '{observer.name}' reads {sorted(found)}; it must read {sorted(expected)}"
    if observer.outputs != encoder.outputs:
        yield f"observer '{observer.name}' answers otherwise than encoder '{encoder.name}'"


def _checked_stamp(name: str, encoder: Servable, empty: Packed) -> int:
    """What the encoder marks its states with, asked with the empty history."""
    state = dict(zip((spec.name for spec in encoder.outputs), encoder.eager(*empty), strict=True))
    if STAMP not in encoder.outputs:
        raise ValueError(
            f"model '{name}': encoder '{encoder.name}' has no int64 output 'stamp' of shape (1,); without the mark of "
            "its weights a state of other weights cannot be told"
        )
    for output, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"model '{name}': encoder '{encoder.name}' answers '{output}' with numbers that are not finite for an "
                "empty history (zeros in all inputs); let it give a state"
            )
    return int(state[STAMP.name].item())
