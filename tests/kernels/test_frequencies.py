"""Hierarchical probabilistic hashing: bounds hold, frequent keys are exact, shards add up, memory is bounded."""

import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.path_sampling import Layout, Plan, combination_keys, cpu, path_sampling, quantise
from kernels.path_sampling.hph import Frequencies, FrequencyOptions, single_keys, weights
from kernels.path_sampling.level import Level, LevelOptions
from kernels.path_sampling.sketch import cells, sketch_lookup_reference
from tests.kernels.frequency_logs import HELD, counted, options, zipf

SALTS = pytest.mark.parametrize("salt", [0, 1, 2])
ROWS = 200_000
HEADER = 4096
"""Room for the header of a file, in bytes."""


@pytest.fixture(scope="module")
def log() -> np.ndarray:
    """int64 [ROWS, 1]"""
    return zipf(ROWS, 1)


@pytest.fixture(scope="module")
def truth(log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different ids int64 [n, 1], the most frequent first, and how often each came, int64 [n]."""
    ids, counts = np.unique(log, return_counts=True)
    order = np.lexsort((ids, -counts))
    return ids[order, None], counts[order]


@SALTS
def test_the_lower_bound_holds_for_95_percent_of_keys(
    log: np.ndarray, truth: tuple[np.ndarray, np.ndarray], salt: int
) -> None:
    ids, counts = truth
    bounds = counted(log, salt).lower(ids).single[:, 0]
    assert (bounds <= counts).mean() >= 0.95
    assert (bounds >= 0).all()
    assert len(ids) > 20 * HELD, "otherwise nothing collides"


@SALTS
def test_a_key_that_never_came_is_near_zero(log: np.ndarray, salt: int) -> None:
    unseen = np.arange(1 << 50, (1 << 50) + 5000)[:, None]
    bounds = counted(log, salt).lower(unseen).single
    assert bounds.mean() < 0.05
    assert (bounds > 0).mean() < 0.02


@SALTS
def test_the_most_frequent_keys_are_held_and_nearly_exact(
    log: np.ndarray, truth: tuple[np.ndarray, np.ndarray], salt: int
) -> None:
    frequencies, top = counted(log, salt), slice(HELD // 2)
    ids, counts = truth[0][top], truth[1][top]
    assert np.isin(single_keys(ids, np.array([0])), frequencies.singles.keys).all()
    assert (np.abs(frequencies.lower(ids).single[:, 0] - counts) / counts).mean() < 0.01


def test_rare_keys_that_came_have_larger_bounds_than_those_that_never_came() -> None:
    log = np.arange(3000)[:, None].repeat(3, axis=0)
    frequencies = counted(log)
    assert frequencies.lower(log).single.mean() > 10 * frequencies.lower(log + 10**9).single.mean()


@pytest.mark.parametrize("parts", [1, 7])
def test_every_occurrence_is_held_or_in_the_sketch(log: np.ndarray, parts: int) -> None:
    frequencies = Frequencies(1, options())
    for part in np.array_split(log, parts):
        frequencies.add(part)
    np.testing.assert_array_equal(all_in_sketch(frequencies.singles), plain_sketch(log))


def test_merged_halves_hold_every_occurrence_and_answer_as_the_whole(
    log: np.ndarray, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    ids, counts = truth
    whole, merged = counted(log), counted(log[: ROWS // 2]).merge(counted(log[ROWS // 2 :]))
    np.testing.assert_array_equal(all_in_sketch(merged.singles), plain_sketch(log))
    expected, found = (frequencies.lower(ids).single[:, 0] for frequencies in (whole, merged))
    assert (found <= counts).mean() >= 0.95
    assert (found == expected).mean() > 0.95
    assert np.abs(found - counts)[: HELD // 2].sum() <= 0.01 * counts[: HELD // 2].sum()


def test_shards_of_other_options_or_fields_are_not_merged() -> None:
    with pytest.raises(ValueError, match="count with the same options"):
        counted(zipf(10, 2)).merge(counted(zipf(10, 2), salt=1))
    with pytest.raises(ValueError, match="count with the same options"):
        counted(zipf(10, 2)).merge(counted(zipf(10, 3)))


def test_a_pair_is_no_more_frequent_than_its_parts_and_symmetric() -> None:
    log = zipf(20_000, 4)
    asked = np.concatenate((log[:2000], zipf(2000, 4, seed=9)))
    bounds = counted(log).lower(asked)
    assert (bounds.pairs <= np.minimum(bounds.single[:, :, None], bounds.single[:, None, :])).all()
    np.testing.assert_array_equal(bounds.pairs, bounds.pairs.transpose(0, 2, 1))
    np.testing.assert_array_equal(np.diagonal(bounds.pairs, axis1=1, axis2=2), bounds.single)


def test_pairs_without_collisions_are_counted_exactly() -> None:
    log = np.array([[1, 7, -3], [1, 7, 1 << 62], [1, 8, -3], [2, 7, -3]])
    bounds = counted(log).lower(log)
    np.testing.assert_array_equal(bounds.single, [[3, 3, 3], [3, 3, 1], [3, 1, 3], [1, 3, 3]])
    np.testing.assert_array_equal(bounds.pairs[0], [[3, 2, 2], [2, 3, 2], [2, 2, 3]])
    np.testing.assert_array_equal(bounds.pairs[3], [[1, 1, 1], [1, 3, 2], [1, 2, 3]])


def test_the_same_id_in_two_fields_is_two_keys() -> None:
    bounds = counted(np.array([[5, 6], [5, 6], [6, 7]])).lower(np.array([[5, 5], [6, 6]]))
    np.testing.assert_array_equal(bounds.single, [[2, 0], [1, 2]])
    assert bounds.pairs[1, 0, 1] == 0


def test_confidence_is_in_the_unit_interval_and_one_for_the_most_frequent() -> None:
    log = zipf(20_000, 3)
    single, pairs = counted(log).confidence(log[:1000])
    assert single.max() == 1
    assert single.min() >= 0
    assert pairs.max() == 1
    assert pairs.min() >= 0
    assert Frequencies(3, options()).confidence(log[:5]).pairs.max() == 0


def test_weights_are_those_of_the_confidences() -> None:
    log = zipf(20_000, 4)
    frequencies, asked = counted(log), log[:500]
    single, pairs = frequencies.confidence(asked)
    expected = quantise(torch.from_numpy(single * (pairs[:, 1] + pairs[:, 2]) / 2))
    np.testing.assert_array_equal(weights(frequencies, asked, (1, 2)), expected)


def test_a_field_of_rare_values_is_left_out_and_the_others_are_kept_alike() -> None:
    random = np.random.default_rng(0)
    log = random.integers(0, 4, (20_000, 6))
    log[:, 5] = np.arange(20_000)
    drawn = weights(counted(log), log[:2000], (0, 1))
    masks, _ = path_sampling(torch.from_numpy(drawn), torch.arange(2000), Plan(paths=4, draws=2, anchors=0b11))
    kept = [float(((masks >> field) & 1).double().mean()) for field in range(6)]
    assert kept[0] == kept[1] == 1
    assert kept[5] < 0.05
    np.testing.assert_allclose(kept[2:5], np.mean(kept[2:5]), atol=0.03)


def test_memory_is_that_of_the_options_whatever_is_counted(tmp_path: Path) -> None:
    sizes = []
    for rows in (10, 50_000):
        frequencies = Frequencies(4, options())
        tracemalloc.start()
        frequencies.add(zipf(rows, 4))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 40e6
        frequencies.save(tmp_path / "counts")
        sizes.append(sum(array.nbytes for array in frequencies.arrays().values()))
        assert sizes[-1] <= (tmp_path / "counts").stat().st_size <= options().bytes + HEADER
    assert sizes == [options().bytes] * 2
    assert FrequencyOptions().bytes < 18e6


@pytest.mark.parametrize("mapped", [True, False])
def test_saved_frequencies_answer_alike(tmp_path: Path, mapped: bool) -> None:
    log = zipf(5000, 3)
    frequencies = counted(log)
    frequencies.save(tmp_path / "counts")
    loaded = Frequencies.load(tmp_path / "counts", mapped=mapped)
    is_mapped = str(tmp_path / "counts") in Path("/proc/self/maps").read_text()
    assert is_mapped == mapped
    for expected, found in zip(frequencies.lower(log), loaded.lower(log), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert loaded.options == frequencies.options


def test_mapped_frequencies_are_not_counted_into_and_loaded_ones_are(tmp_path: Path) -> None:
    log = zipf(3000, 2)
    counted(log[:1000]).save(tmp_path / "counts")
    with pytest.raises(ValueError, match="load them with mapped=False"):
        Frequencies.load(tmp_path / "counts").add(log[1000:])
    loaded = Frequencies.load(tmp_path / "counts", mapped=False)
    loaded.add(log[1000:])
    expected = counted(log[:1000])
    expected.add(log[1000:])
    np.testing.assert_array_equal(loaded.lower(log).pairs, expected.lower(log).pairs)


@pytest.mark.parametrize("content", [b"", b"not a file of tensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "counts").write_bytes(content)
    with pytest.raises(ValueError, match="counts holds no frequencies"):
        Frequencies.load(tmp_path / "counts")


def test_what_does_not_fit_is_refused() -> None:
    frequencies = counted(zipf(10, 3))
    with pytest.raises(ValueError, match=r"ids must be int64 \[n, 3\], not int64 \[10, 2\]"):
        frequencies.add(zipf(10, 2))
    with pytest.raises(ValueError, match="not int32"):
        frequencies.lower(zipf(10, 3).astype(np.int32))
    arrays = frequencies.arrays()
    with pytest.raises(ValueError, match="pairs_sketch"):
        Frequencies.from_arrays(3, options(), {name: arrays[name] for name in arrays if name != "pairs_sketch"})
    wrong = replace(options(), pairs=LevelOptions(held=4, layout=options().pairs.layout))
    with pytest.raises(ValueError, match=r"keys is int64 \[512\]; it must be int64 \[4\]"):
        Frequencies.from_arrays(3, wrong, arrays)
    with pytest.raises(ValueError, match="held is 0"):
        LevelOptions(held=0, layout=options().pairs.layout)


def test_options_survive_their_json_form() -> None:
    assert FrequencyOptions.of(asdict(options(salt=5))) == options(salt=5)


@pytest.mark.parametrize(("rows", "width"), [(8, 1), (4, 2), (4, 4)])
def test_numpy_finds_the_keys_and_cells_of_the_definition(rows: int, width: int) -> None:
    random = np.random.default_rng(0)
    ids, layout = random.integers(-(1 << 63), 1 << 63, (300, 2)), Layout(blocks=999, rows=rows, width=width, salt=7)
    tensors = torch.from_numpy(ids)
    keys = cpu.combination_keys((ids[:, 0], ids[:, 1]), (3, 9))
    np.testing.assert_array_equal(keys, combination_keys(tensors, (3, 9)))
    np.testing.assert_array_equal(single_keys(ids[:, 0], np.array(3)), combination_keys(tensors[:, :1], (3,)))
    for expected, found in zip(cells(torch.from_numpy(keys), layout), cpu.cells(keys, layout), strict=True):
        np.testing.assert_array_equal(found, expected)
    sketch = random.integers(-5, 50, (999, rows, width)).astype(np.int32)
    expected = sketch_lookup_reference(torch.from_numpy(sketch), torch.from_numpy(keys), layout)
    np.testing.assert_array_equal(cpu.sketch_lookup(sketch, keys, layout), expected)


def plain_sketch(log: np.ndarray) -> np.ndarray:
    """The sketch of a log int64 [n, 1] from which nothing was taken out."""
    layout = options().singles.layout
    sketch = np.zeros(layout.blocks * layout.rows * layout.width, np.int32)
    index, sign = cpu.cells(single_keys(log[:, 0], np.array(0)), layout)
    np.add.at(sketch, index, sign)
    return sketch.reshape(layout.blocks, layout.rows, layout.width)


def all_in_sketch(level: Level) -> np.ndarray:
    """The sketch with the held counts put back."""
    sketch = level.sketch.copy()
    index, sign = cpu.cells(level.keys, level.options.layout)
    np.add.at(sketch.reshape(-1), index, (sign * level.counts[:, None]).astype(np.int32))
    return sketch
