"""What a served click model has to answer at the edges of ids and lengths. ORT reads the last row of a table for an id
of -1 and divides by zero where a batch has nothing at all, both without a word."""

from collections.abc import Sequence

import numpy as np
import pytest

from serving.direct import DirectModel
from serving.in_process import InProcessModel

STRANGERS = (-1, -(2**63), 2**40, 2**63 - 1)


def asked(model: DirectModel | InProcessModel, user: int, items: Sequence[int]) -> np.ndarray:
    """Scores of one request."""
    return model.run([request(user, items)])[0]["scores"][0]


def request(user: int, items: Sequence[int]) -> dict[str, np.ndarray]:
    return {"user_id": np.array([[user]]), "candidates": np.array([items], np.int64)}


def check_edges(model: DirectModel | InProcessModel, last_user: int, last_item: int) -> None:
    """Ids that nobody has are answered as the unknown's, negative items refused, and nothing is answered with nothing,
    alone and among others."""
    unknown = asked(model, 0, [1, last_item])
    for user in (*STRANGERS, last_user + 1):
        np.testing.assert_array_equal(asked(model, user, [1, last_item]), unknown)
    assert not np.allclose(asked(model, last_user, [1, last_item]), unknown), "the last row is another's"
    scores = asked(model, 1, [0, last_item])
    for item in (2**40, 2**63 - 1, last_item + 1):
        np.testing.assert_array_equal(asked(model, 1, [item, last_item]), scores)
    assert len(set(asked(model, 1, range(last_item + 1)).tolist())) > last_item / 2, "items differ"
    with pytest.raises(ValueError, match="-1 is negative"):
        asked(model, 1, [3, -1])
    assert asked(model, 1, []).shape == (0,)
    first, found, last = model.run([request(1, []), request(1, [0, last_item]), request(last_user, [])])
    assert first["scores"].size == last["scores"].size == 0
    np.testing.assert_allclose(found["scores"][0], scores, rtol=1e-5)


def check_negatives(model: DirectModel, feeds: dict[str, np.ndarray], place: int) -> None:
    """Without the check of our backends, as in NVIDIA's: a negative item has no score, its neighbours theirs."""
    good = model.run_checked([feeds])[0]["scores"][0]
    changed = feeds["candidates"].copy()
    changed[0, place] = -1
    found = model.run_checked([{**feeds, "candidates": changed}])[0]["scores"][0]
    assert np.isnan(found[place])
    others = np.arange(len(good)) != place
    np.testing.assert_allclose(found[others], good[others], rtol=1e-6)
