"""Requests out of a log, as the clients sent them, and what a release makes of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from export.release_ids import Known, known
from serving.watch import records
from serving.watch.pseudonyms import KEY_FILE, USER_ID, hashed, key_of

Tensors = Mapping[str, np.ndarray]


class Logged(NamedTuple):
    """One request [1, ...] and its answer."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    version: int
    time: str
    is_named: bool
    """Whether its user, if it has one, is called as the client did."""


def read(log: Path, model: str, most: int | None = None) -> list[Logged]:
    """The requests to a model, at most so many and those evenly over the log. A record of several rows becomes as many
    requests. Raises ValueError where there is none, and for a damaged one."""
    there = records.places(log, model)
    found = [records.read(place) for place in (there if most is None else records.spread(there, most))]
    return [row for record in found for row in _rows(record)][:most]


def named(requests: Sequence[Logged], log: Path, users: Known | None) -> list[Logged]:
    """With the users whom the release knows by their own ids in place of hashes; the hash of anybody else stays, whom
    the release does not know either.

    Raises ValueError where the log names users by hashes and its key is not there.
    """
    if all(one.is_named for one in requests):
        return [*requests]
    key = key_of(log)
    if key is None:
        raise ValueError(
            f"{log} names users by hashes, and has no {KEY_FILE}: run this on the server that wrote it, or copy that "
            "file too, with which users can be recognised"
        )
    ids = users.ids if users is not None else np.zeros(0, np.int64)
    own = dict(zip(hashed(key, ids).tolist(), ids.tolist(), strict=True))
    return [one if one.is_named else one._replace(inputs=_with_own(one.inputs, own), is_named=True) for one in requests]


def unknown_shares(requests: Sequence[Logged], of: Callable[[str], Known | None]) -> dict[str, float]:
    """Input -> share of its ids that the release does not know; of inputs of whose ids it says which it knows. Users
    that are called by hashes are left out."""
    found: dict[str, float] = {}
    for name in requests[0].inputs if requests else ():
        ids = of(name)
        asked = [one.inputs[name].reshape(-1) for one in requests if one.is_named or name != USER_ID]
        if ids is not None and sum(map(len, asked)):
            found[name] = float(np.mean(ids.dense(np.concatenate(asked)) == 0))
    return found


def ids_of(repository: Path, name: str, version: int) -> Callable[[str], Known | None]:
    """What a release knows of an input's ids, read once."""
    read: dict[str, Known | None] = {}

    def of(tensor: str) -> Known | None:
        if tensor not in read:
            read[tensor] = known(repository, name, version, tensor)
        return read[tensor]

    return of


def _rows(record: records.Record) -> list[Logged]:
    is_named = record.ids == "raw" or USER_ID not in record.inputs
    sizes = {array.shape[0] for array in (*record.inputs.values(), *record.outputs.values()) if array.ndim}
    number = sizes.pop() if len(sizes) == 1 else 1
    return [
        Logged(
            {name: array[row : row + 1] for name, array in record.inputs.items()} if number > 1 else record.inputs,
            {name: array[row : row + 1] for name, array in record.outputs.items()} if number > 1 else record.outputs,
            record.version,
            record.time,
            is_named,
        )
        for row in range(number)
    ]


def _with_own(inputs: Tensors, own: Mapping[int | str, int | str]) -> dict[str, np.ndarray]:
    asked = inputs[USER_ID]
    ids = [own.get(one, one) for one in asked.reshape(-1).tolist()]
    return {**inputs, USER_ID: np.array(ids, asked.dtype).reshape(asked.shape)}
