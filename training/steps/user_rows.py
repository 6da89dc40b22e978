"""The step that reads a user's rows from a file: a click model's histories, an ensemble's first step.

Axes: U users who have a row.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from torch import Tensor

from serving.histories.ragged import packed
from serving.histories.reading import NAMES
from serving.ids import IdMap
from serving.steps import followed
from serving.steps.followed import Followed
from training.servable import Packed, StepServable, TensorSpec
from training.steps.rows import Rows

KIND = "user_rows"
ROWS_FILE = "rows.safetensors"
UNKNOWN = "unknown."
"""What the names of the unknown user's rows begin with."""
KEYS = "keys"
"""The array of the file that holds the user ids."""


def user_rows(  # noqa: PLR0913 - what a step is made of
    name: str,
    *,
    user_ids: np.ndarray,
    rows: Mapping[str, np.ndarray],
    unknown: Mapping[str, np.ndarray] | None = None,
    inputs: tuple[TensorSpec, ...],
    example: Callable[[int, int], Packed],
    follows: Sequence[Followed] = (),
    ids: Mapping[str, IdMap] = MappingProxyType({}),
) -> StepServable:
    """Outputs are `rows`, arrays [U, ...] by name, at the row of the user who asks. An unknown user reads `unknown`,
    one row for each array, or zeros.

    `user_ids` int64 [U] ascend. `inputs` begin with `user_id` [1]; the others (ragged candidates) are only checked, so
    that a wrong request is refused before work is done. `follows` are the columns of the rows that the users' histories
    decide, `ids` the maps of rows that are dense ids and are answered as raw ones. Raises ValueError, naming the array,
    where they do not fit.
    """
    if not rows or KEYS in rows:
        raise ValueError(f"model '{name}': rows holds {sorted(rows)}; it needs arrays, none of them called '{KEYS}'")
    if not inputs or (inputs[0].name, inputs[0].dtype, inputs[0].shape) != ("user_id", "int64", (1,)):
        raise ValueError(f"model '{name}': the first input must be 'user_id', int64 of shape (1,)")
    try:
        found = Rows(user_ids, rows, unknown)
    except ValueError as error:
        raise ValueError(f"model '{name}': {error}") from error

    def eager(user_id: Tensor, *others: Tensor) -> Packed:
        return found.of(user_id)

    def write(folder: Path, asks: Mapping[str, str]) -> None:
        strangers = {f"{UNKNOWN}{key}": np.asarray(row) for key, row in (unknown or {}).items()}
        arrays = {KEYS: user_ids, **packed(rows), **strangers, **followed.write(folder, follows)}
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, folder / ROWS_FILE)

    return StepServable(
        name=name,
        inputs=inputs,
        outputs=tuple(_spec(key, array, ids.get(key)) for key, array in rows.items()),
        example=example,
        eager=eager,
        kind=KIND,
        gives_ids=True,
        write=write,
        reads_histories=bool(follows) or {*NAMES} <= set(rows),
    )


def _spec(name: str, array: np.ndarray, ids: IdMap | None) -> TensorSpec:
    # What a signature cannot name is refused when the model is published.
    dtype: Any = array.dtype.name
    return TensorSpec(name=name, dtype=dtype, shape=array.shape[1:], ids=ids)
