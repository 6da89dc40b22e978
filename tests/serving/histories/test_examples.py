"""Users of golden requests: told from a client's own, whatever ids that client has."""

import numpy as np
import pytest

from serving.histories.examples import example_ids, example_of, refuse_examples

DENSE = np.array([[0], [1], [2**24 - 1]])


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_an_id_stands_for_the_dense_one(kind) -> None:
    raw = example_ids(DENSE, kind)
    assert raw.shape == DENSE.shape
    assert [example_of(one) for one in raw.reshape(-1).tolist()] == DENSE.reshape(-1).tolist()
    nobody = example_ids(np.array([-1, 2**24, -(2**63), 2**63 - 1]), kind)
    assert [example_of(one) for one in nobody.tolist()] == [0] * 4
    with pytest.raises(ValueError, match="stands for a user of golden requests"):
        refuse_examples(np.sort(raw.reshape(-1)))


@pytest.mark.parametrize(
    "raw", [0, 1, -1, 2**63 - 1, -(2**63), -(2**62), "", "recserve example", "recserve example x", "7"]
)
def test_a_client_s_own_ids_stand_for_nobody_else(raw: int | str) -> None:
    assert example_of(raw) is None
    refuse_examples(np.array([raw], np.int64 if isinstance(raw, int) else object))
