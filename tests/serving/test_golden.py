import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from serving import golden


def compare(expected: object, actual: object, tolerance: float = 1e-5) -> golden.Gap:
    return golden.compare({"y": np.asarray(expected)}, {"y": np.asarray(actual)}, tolerance)


def test_goldens_come_back_as_they_were_written(tmp_path: Path) -> None:
    first = golden.Golden(
        inputs={"ids": np.array([[3, 2**62]]), "none": np.zeros((1, 0), np.int64)},
        outputs={"y": np.array([[1.5]], np.float32)},
        reference64={"y": np.array([[1.5]])},
        served64={"y": np.array([[1.25]])},
    )
    names = np.array([["", " a ", "\u7121"]], object)
    first.inputs["names"], first.outputs["none"] = names, np.zeros((1, 0), object)
    second = golden.Golden(inputs={"x/y": np.ones((1, 2), np.float16).T}, outputs={"y": np.array([[7]], np.int32)})
    golden.write(tmp_path / "g.safetensors", [first, second])
    for written, found in zip([first, second], golden.read(tmp_path / "g.safetensors"), strict=True):
        for part in golden.PARTS:
            before, after = getattr(written, part), getattr(found, part)
            assert before.keys() == after.keys()
            for name, array in before.items():
                assert after[name].dtype == array.dtype
                np.testing.assert_array_equal(after[name], array)


def test_text_is_right_where_it_is_the_same_text() -> None:
    names = np.array(["a", "\u00e9"], object)
    assert compare(names, names.copy())[2:] == (0.0, 0.0, True)
    for other in (["a", "e\u0301"], ["a ", "\u00e9"], ["a", ""]):
        gap = compare(names, np.array(other, object), tolerance=0.5)
        assert (gap.ok, gap.absolute) == (False, 1.0)
    assert not compare(names, np.array(["a", "\u00e9"])).ok


@pytest.mark.parametrize(("order", "ok"), [(["b", "a", "c"], True), (["c", "b", "a"], False), (["a", "a", "c"], False)])
def test_text_beside_tied_scores_may_come_in_another_order(order: list[str], ok: bool) -> None:
    scores = np.array([[2.0, 2.0, 1.0]], np.float32)
    expected = {"items": np.array([["a", "b", "c"]], object), "scores": scores}
    actual = {"items": np.array([order], object), "scores": scores}
    assert golden.compare(expected, actual, 1e-5).ok == ok
    assert not golden.compare(expected, actual, 0.0).ok


@pytest.mark.parametrize("name", ["weights", "best"])
def test_integers_beside_equal_numbers_that_do_not_order_them_may_not(name: str) -> None:
    ones = np.ones((1, 3), np.float32)
    expected = {"sids": np.array([[5, 9, 7]]), name: ones}
    assert golden.compare(expected, expected, 1e-5).ok
    assert not golden.compare(expected, {"sids": np.array([[7, 9, 5]]), name: ones}, 1e-5).ok


def test_a_file_with_text_that_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    save_file({"utf8/0000/inputs/x": np.zeros(3, np.uint8)}, tmp_path / "g.safetensors")
    with pytest.raises(ValueError, match=r"is no file of goldens: .* has no ends beside it; export the model again"):
        golden.read(tmp_path / "g.safetensors")


def test_goldens_keep_their_order(tmp_path: Path) -> None:
    goldens = [golden.Golden(inputs={}, outputs={"y": np.array([k])}) for k in range(12)]
    golden.write(tmp_path / "g.safetensors", goldens)
    assert [g.outputs["y"][0] for g in golden.read(tmp_path / "g.safetensors")] == list(range(12))


def test_a_file_with_other_tensors_is_refused_by_key(tmp_path: Path) -> None:
    save_file({"weights": np.ones(2)}, tmp_path / "g.safetensors")
    with pytest.raises(ValueError, match="'weights' is not the key of a golden"):
        golden.read(tmp_path / "g.safetensors")


def test_the_worst_element_is_found_over_all_outputs() -> None:
    expected = {"a": np.zeros((2, 2)), "b": np.full((2, 2), 100.0)}
    actual = {"a": np.array([[0, 0], [0.1, 0]]), "b": np.array([[100, 101.0], [100, 100]])}
    gap = golden.compare(expected, actual, 1e-5)
    assert (gap.output, gap.index, gap.ok) == ("a", (1, 0), False)
    assert gap.absolute == pytest.approx(0.1)
    gap = golden.compare({"b": expected["b"]}, actual, 1e-5)
    assert (gap.index, gap.relative) == ((0, 1), pytest.approx(0.01))


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1.0))
def test_a_change_above_the_tolerance_is_never_ok(value: float, change: float) -> None:
    scale = max(1.0, abs(value))
    assert not compare([value], [value + change * scale]).ok
    assert compare([value], [value + change * scale], tolerance=2 * change).ok


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (np.array([1.0]), np.array([[1.0]])),
        (np.array([1.0]), np.array([1.0], np.float32)),
        (np.array([1.0]), np.array([np.nan])),
        (np.array([np.nan]), np.array([1.0])),
        (np.array([np.inf]), np.array([-np.inf])),
        (np.array([np.inf]), np.array([1.0])),
        (np.array([2**60]), np.array([2**60 + 1])),
        (np.array([-1]), np.array([0])),
    ],
)
def test_what_differs_is_never_ok(expected: np.ndarray, actual: np.ndarray) -> None:
    assert not compare(expected, actual, tolerance=0.5).ok


@pytest.mark.parametrize("value", [np.array([np.nan, np.inf, -np.inf, 1.0]), np.zeros((1, 0)), np.array([2**63 - 1])])
def test_equal_arrays_have_no_gap(value: np.ndarray) -> None:
    assert compare(value, value.copy())[2:] == (0.0, 0.0, True)


def test_a_missing_output_is_not_ok_and_an_extra_one_does_not_matter() -> None:
    assert not golden.compare({"y": np.ones(1)}, {"z": np.ones(1)}, 1.0).ok
    assert golden.compare({"y": np.ones(1)}, {"y": np.ones(1), "z": np.ones(1)}, 0.0).ok


def test_a_golden_without_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("proves nothing")):
        golden.compare({}, {"y": np.ones(1)}, 1.0)
