"""The paths of requests: from the request's key, user and item alone; weights as of whole instances."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from kernels.path_sampling import Plan, draw, instance_keys
from kernels.path_sampling.hph import weights
from kernels.path_sampling.sampler import SAMPLER_FILE, TABLES_FILE, CandidatePaths, Sampler
from tests.kernels.frequency_logs import counted, sampler, tables, zipf

USERS = np.array([10, 88, 12, 999])
"""The last one is unknown."""
COUNTS = np.array([30, 1, 0, 9])
CANDIDATES = np.random.default_rng(3).integers(0, 95, 40)
"""Items 91 to 94 and 0 are unknown."""
KEYS = np.array([5, -(1 << 63), 7, 5])


@pytest.fixture(scope="module")
def small() -> Sampler:
    return sampler()


def sample(one: Sampler, keys: np.ndarray = KEYS) -> CandidatePaths:
    return one.sample(USERS, CANDIDATES, COUNTS, keys)


def rows_of_requests() -> np.ndarray:
    """int64 [40, 5]: the fields of every candidate with its user."""
    rows = tables()
    places = np.searchsorted(rows.user_ids, USERS)
    of_users = np.concatenate((rows.user_rows, np.zeros((1, 3), np.int64)))[places]
    items = np.where(CANDIDATES < len(rows.item_rows), CANDIDATES, 0)
    return np.concatenate((of_users.repeat(COUNTS, axis=0), rows.item_rows[items]), axis=1)


def test_requests_get_the_paths_of_whole_instances(small: Sampler) -> None:
    drawn = weights(small.frequencies, rows_of_requests(), small.tables.anchors)
    keys = instance_keys(torch.from_numpy(KEYS.repeat(COUNTS)), torch.from_numpy(CANDIDATES))
    expected = draw(torch.from_numpy(drawn), keys, small.plan, small.aggregation)
    found = sample(small)
    np.testing.assert_array_equal(found.masks, expected.masks)
    np.testing.assert_array_equal(found.weights, expected.shares)
    assert len(np.unique(drawn)) > 20


def test_a_request_alone_gets_the_paths_that_it_gets_in_a_batch(small: Sampler) -> None:
    together = sample(small)
    for number, part in enumerate(np.split(np.arange(40), np.cumsum(COUNTS)[:-1])):
        one = slice(number, number + 1)
        alone = small.sample(USERS[one], CANDIDATES[part], COUNTS[one], KEYS[one])
        np.testing.assert_array_equal(alone.masks, together.masks[part])
        np.testing.assert_array_equal(alone.weights, together.weights[part])


def test_a_candidate_alone_gets_the_paths_that_it_gets_in_a_request(small: Sampler) -> None:
    together = sample(small)
    alone = small.sample(USERS[:1], CANDIDATES[12:13], np.array([1]), KEYS[:1])
    np.testing.assert_array_equal(alone.masks, together.masks[12:13])


def test_another_request_key_gets_other_paths(small: Sampler) -> None:
    masks = sample(small).masks
    np.testing.assert_array_equal(sample(small).masks, masks)
    assert (sample(small, KEYS + 1).masks != masks).mean() > 0.3


def test_anchors_are_in_every_path_and_shares_add_up(small: Sampler) -> None:
    masks, shares = sample(small)
    anchors = small.plan.anchors
    assert (masks & anchors == anchors).all()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(shares[:, 0], 1 / 5)
    assert masks.dtype == np.int64
    assert shares.dtype == np.float32


def test_a_saved_sampler_draws_the_same_paths(small: Sampler, tmp_path: Path) -> None:
    small.save(tmp_path)
    found, expected = sample(Sampler.load(tmp_path)), sample(small)
    np.testing.assert_array_equal(found.masks, expected.masks)
    np.testing.assert_array_equal(found.weights, expected.weights)


@pytest.mark.parametrize("file", [SAMPLER_FILE, TABLES_FILE])
def test_a_damaged_folder_is_refused(small: Sampler, tmp_path: Path, file: str) -> None:
    small.save(tmp_path)
    (tmp_path / file).write_text("{}")
    with pytest.raises(ValueError, match="holds no path sampler"):
        Sampler.load(tmp_path)


def test_a_user_whom_nobody_knows_has_the_fields_of_a_new_one(small: Sampler, tmp_path: Path) -> None:
    """As a known user with these fields, which the tables' files keep; in files of before, they are zeros."""
    rows = small.tables.user_rows[0]
    one = Sampler(small.frequencies, replace(small.tables, new_user=rows), small.plan, small.aggregation)
    users, count, key, items = np.array([[10], [999], [-1]]), np.array([20]), np.array([4]), np.arange(20)
    known, *strangers = (one.sample(user, items, count, key) for user in users)
    unknown = small.sample(users[1], items, count, key)
    for found in strangers:
        np.testing.assert_array_equal(found.masks, known.masks)
        np.testing.assert_array_equal(found.weights, known.weights)
    assert not np.array_equal(unknown.weights, known.weights)
    one.save(tmp_path)
    np.testing.assert_array_equal(Sampler.load(tmp_path).tables.new_user, rows)
    arrays = {name: array for name, array in vars(one.tables).items() if name != "new_user"}
    save_file(arrays, tmp_path / TABLES_FILE)
    assert not Sampler.load(tmp_path).tables.new_user.any()


def test_parts_that_do_not_fit_are_refused(small: Sampler) -> None:
    with pytest.raises(ValueError, match="frequencies of 4 fields, tables of 5"):
        Sampler(counted(zipf(10, 4)), small.tables, small.plan, small.aggregation)
    with pytest.raises(ValueError, match=r"anchors are 0x1; they must be the fields \(0, 3\)"):
        Sampler(small.frequencies, small.tables, Plan(paths=1, draws=1, anchors=1), small.aggregation)
    with pytest.raises(ValueError, match="user_ids must ascend"):
        replace(tables(), user_ids=np.zeros(40, np.int64))
    with pytest.raises(ValueError, match="item_rows must be int64 with 2 axes"):
        replace(tables(), item_rows=np.zeros(5, np.int64))
    with pytest.raises(ValueError, match="new_user has 2 fields, user_rows 3"):
        replace(tables(), new_user=np.zeros(2, np.int64))
