"""Scores of pairs of user and item: offline, by the eager answers of a run's release, and from the running server.

Both take the same requests: one for each user, with as many candidates as the release allows; what a request means is
what is known of the user now, after all events.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from training.registry import SYSTEMS
from training.servable import Packed, Signature, TensorSpec
from training.tasks.click import CLICK

_USER, _CANDIDATES = "user_id", "candidates"
MOST = 20_000
"""Candidates of one request at most, where nothing says it."""
_CALLERS = 8
"""Requests under way at once: the server answers together what comes at the same time."""

Infer = Callable[[str, dict[str, np.ndarray]], Mapping[str, np.ndarray]]


def ranker(signatures: tuple[Signature, ...]) -> Signature:
    """The model of a release that scores candidates of a user. Raises ValueError where it does not."""
    asked = signatures[-1]
    if {_USER, _CANDIDATES} - {spec.name for spec in asked.inputs} or "scores" not in {s.name for s in asked.outputs}:
        able = ", ".join(one.name for one in SYSTEMS.values() if one.task is CLICK)
        raise ValueError(
            f"'{asked.name}' does not score candidates of a user, so no pairs can be scored with it; choose a run "
            f"of one of {able}"
        )
    return asked


def offline(asked: Signature, user: np.ndarray, item: np.ndarray, further: Mapping[str, np.ndarray]) -> np.ndarray:
    """float32 [N]: scores of pairs of dense ids int64 [N]; `further` inputs [N, ...] by name, the same for all pairs of
    a user and moment."""
    scores = np.zeros(len(user), np.float32)
    for rows in groups(asked, user, further):
        candidates = torch.from_numpy(item[rows])
        inputs = {_USER: torch.from_numpy(user[rows[:1], None]), _CANDIDATES: candidates}
        inputs |= {name: torch.from_numpy(values[rows[:1]]) for name, values in further.items()}
        ends = torch.tensor([len(rows)], dtype=torch.int32)
        scores[rows] = _eager(asked, inputs, ends)
    return scores


def _eager(asked: Signature, inputs: Mapping[str, Tensor], ends: Tensor) -> np.ndarray:
    tensors: Packed = tuple(ends if spec.of is not None else inputs[spec.name] for spec in asked.inputs)
    answer = dict(zip((spec.name for spec in asked.outputs), asked.eager(*tensors), strict=True))
    return answer["scores"].numpy()


def served(
    infer: Infer, asked: Signature, user: np.ndarray, item: np.ndarray, further: Mapping[str, np.ndarray]
) -> np.ndarray:
    """float32 [N]: the same from a server, as a client asks it, by raw ids."""
    scores = np.zeros(len(user), np.float32)
    specs = {spec.name: spec for spec in asked.inputs}

    def score(rows: np.ndarray) -> None:
        request = {
            _USER: sent(specs[_USER], user[rows[:1], None]),
            _CANDIDATES: sent(specs[_CANDIDATES], item[rows][None]),
        }
        request |= {name: sent(specs[name], values[rows[:1]]) for name, values in further.items()}
        scores[rows] = infer(asked.name, request)["scores"][0]

    with ThreadPoolExecutor(_CALLERS) as callers:
        list(callers.map(score, groups(asked, user, further)))
    return scores


def sent(spec: TensorSpec, dense: np.ndarray) -> np.ndarray:
    """Raw ids of dense ones, where the tensor has a map."""
    return dense if spec.mapped is None else spec.mapped.sent(dense)


def groups(asked: Signature, user: np.ndarray, further: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
    """Rows of each request int64 [n]: of one user and moment, at most as many as a request may carry."""
    most = next(spec.max_elements for spec in asked.inputs if spec.name == _CANDIDATES) or len(user)
    columns = [user, *(np.unique(values, axis=0, return_inverse=True)[1].reshape(-1) for values in further.values())]
    _, moment = np.unique(np.stack(columns), axis=1, return_inverse=True)
    order = np.argsort(moment.reshape(-1), kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(moment.reshape(-1)))[:-1]):
        yield from np.array_split(rows, -(-len(rows) // most))
