"""Maps of raw ids and text in arrays: exact both ways, for any int64 and any text that a client can send."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from recserve_client import texts
from serving import flat_texts
from serving.ids import IdMap, IdMaps, mapped_ids

LEAST, MOST = -(2**63), 2**63 - 1
PATIENT = settings(deadline=None, max_examples=60)
any_int = st.one_of(st.sampled_from([LEAST, MOST, -1, 0, 1, 2**53, 2**53 + 1]), st.integers(LEAST, MOST))
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)


def numbers(ids: list[int]) -> IdMap:
    return IdMap(ids=np.array(sorted(set(ids)), np.int64))


def strings(ids: list[str]) -> IdMap:
    return IdMap(ids=np.array(sorted(set(ids)), object))


@PATIENT
@given(ids=st.lists(any_int, min_size=1, max_size=12), asked=st.lists(any_int, max_size=12))
def test_whole_numbers_come_back_and_others_are_unknown(ids: list[int], asked: list[int]) -> None:
    check(numbers(ids), sorted(set(ids)), [*ids, *asked])


@PATIENT
@given(ids=st.lists(any_text, min_size=1, max_size=12), asked=st.lists(any_text, max_size=12))
def test_strings_come_back_and_others_are_unknown(ids: list[str], asked: list[str]) -> None:
    check(strings(ids), sorted(set(ids)), [*ids, *asked])


def check(one: IdMap, ordered: list[Any], asked: list[Any]) -> None:
    raw = np.array(asked, one.ids.dtype).reshape(1, -1)
    dense = one.dense(raw)
    assert dense.tolist() == [[ordered.index(each) + 1 if each in ordered else 0 for each in asked]]
    assert one.raw(dense).tolist() == [[each if each in ordered else one.filling for each in asked]]
    assert one.raw(np.array([-1, 2**40, len(ordered) + 1])).tolist() == [one.filling] * 3
    assert one.filling not in ordered
    assert len(one.strangers) > 0
    assert not set(one.strangers.tolist()) & set(ordered)
    wanted = np.array([[0, 1, -1, 2**40, len(ordered)]])
    assert one.dense(one.sent(wanted)).tolist() == [[0, 1, 0, 0, len(ordered)]]


@pytest.mark.parametrize(
    ("raw", "bad"),
    [
        (np.array([2, "x"], object), "'x'"),
        (np.array(["2"]), "'2'"),
        (np.array([10, 10.7], object), "10.7"),
        (np.array([2.0, np.nan]), "2.0"),
        (np.array([True, False]), "True"),
        (np.array([None, 2], object), "None"),
        (np.array([2, 2**64 - 1], np.uint64), str(2**64 - 1)),
        (np.array([2, 2**63], object), str(2**63)),
    ],
)
def test_what_is_no_whole_number_is_no_id_of_a_map_of_such(raw: np.ndarray, bad: str) -> None:
    line = f"^{re.escape(bad)} is no id: the ids are whole numbers of 64 bits with a sign$"
    with pytest.raises(ValueError, match=line):
        numbers([-1, 2, 10]).dense(raw)


def test_whole_numbers_of_any_width_are_looked_up_and_none_is_text() -> None:
    for kind in (np.int8, np.uint64, np.int32, object):
        assert numbers([-1, 2, 10]).dense(np.array([[2, 9]], kind)).tolist() == [[2, 0]]
    assert numbers([2]).dense(np.array([])).tolist() == []
    with pytest.raises(ValueError, match=r"^2 is no id: the ids are text$"):
        strings(["2"]).dense(np.array([2]))


def test_text_forms_and_encodings_are_told_apart() -> None:
    names = ["1", "01", " 1", "1 ", "\u00e9", "e\u0301", "a\t", "a"]
    one = strings(names)
    as_bytes = np.array([name.encode() for name in names], object)
    assert one.raw(one.dense(as_bytes)).tolist() == names
    assert one.dense(np.array(["1.0", "+1", "1\n", "E\u0301", ""])).tolist() == [0] * 5


@pytest.mark.parametrize(
    ("ids", "filling"), [([1, 2], 0), ([0, 5], -1), ([-2, -1, 0], -3), (["x"], ""), ([LEAST, MOST], 0)]
)
def test_an_answer_without_an_id_is_said_by_what_is_none(ids: list[Any], filling: int | str) -> None:
    one = IdMap(ids=np.array(ids, object if isinstance(ids[0], str) else np.int64))
    assert one.filling == filling
    assert one.raw(np.zeros((2, 0), np.int64)).shape == (2, 0)


def test_the_numbers_one_to_n_need_no_map() -> None:
    assert numbers([3, 1, 2]).is_identity
    assert not numbers([0, 1, 2]).is_identity
    assert not numbers([1, 2, 4]).is_identity
    assert not strings(["1", "2"]).is_identity


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (np.zeros(0, np.int64), "give one or more"),
        (np.array([1.0]), "raw ids are float64"),
        (np.array([[1]]), "raw ids are int64"),
        (np.array([2, 1]), "must ascend"),
        (np.array([1, 1]), "must ascend"),
        (np.array(["b", "a"], object), "must ascend"),
        (np.array(["", "a"], object), "an empty string is a raw id"),
        (np.array(["a", 1], object), "element 1 is a int"),
        (np.array(["a\0"], object), "element 0 holds a NUL"),
        (np.array(["\ud800"], object), "element 0 is no UTF-8"),
        (np.array(["\u00e9" * 513], object), "element 0 has 1026 bytes; send 1024 or fewer"),
    ],
)
def test_ids_that_make_no_map_are_refused(ids: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        IdMap(ids=ids)


@pytest.mark.parametrize("one", [numbers([LEAST, 0, 2**62]), strings(["\u7121", " a ", "b"])])
def test_a_map_is_read_as_it_was_written(one: IdMap, tmp_path: Path) -> None:
    one.save(tmp_path, "user")
    found = IdMap.load(tmp_path, "user")
    assert (found, hash(found), found.facts) == (one, hash(one), one.facts)
    assert found.ids.tolist() == one.ids.tolist()


def test_maps_differ_by_any_id_and_by_kind() -> None:
    ones = [numbers([1, 2]), numbers([1, 3]), strings(["1", "2"]), strings(["12"]), strings(["1", "2", "3"])]
    assert len({one.digest for one in ones}) == len({*ones}) == len(ones)


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ids\.user\.safetensors holds no map of ids: .*; export the model again"):
        IdMap.load(tmp_path, "user")
    strings(["aa", "b"]).save(tmp_path, "user")
    path = tmp_path / "ids.user.safetensors"
    plain = load_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"c")
    with pytest.raises(ValueError, match="is damaged"):
        IdMap.load(tmp_path, "user")
    for broken in (
        {"utf8/ids": plain["utf8/ids"]},
        {"ends/ids": plain["ends/ids"]},
        {**plain, "ends/ids": plain["ends/ids"][::-1]},
        {**plain, "ends/ids": plain["ends/ids"] + 1},
    ):
        save_file({name: np.ascontiguousarray(array) for name, array in broken.items()}, path)
        with pytest.raises(ValueError, match="holds no map of ids"):
            IdMap.load(tmp_path, "user")


def test_a_backend_maps_the_tensors_that_the_configuration_names(tmp_path: Path) -> None:
    strings(["a", "b"]).save(tmp_path, "user")
    maps = IdMaps.load(tmp_path, mapped_ids({"mapped_ids": "user"}))
    request = {"user": np.array([[b"b"]], object), "other": np.array([[7]])}
    maps.check(request)
    assert {name: array.tolist() for name, array in maps.dense(request).items()} == {"user": [[2]], "other": [[7]]}
    assert maps.raw({"user": np.array([[2, 9]])})["user"].tolist() == [["b", ""]]
    with pytest.raises(ValueError, match="input 'user': element 0 is no UTF-8 text"):
        maps.check({"user": np.array([[b"\xff"]], object)})
    assert mapped_ids({}) == ()


def test_text_comes_back_from_plain_arrays_in_its_shape() -> None:
    text = np.array([["", " a ", "\u00e9"], ["a\0b", "\u7121", "x"]], object)
    arrays = {"0007/x": text, "none": np.zeros((1, 0), object), "one": np.array("a", object), "n": np.ones(2)}
    plain = flat_texts.flattened(arrays)
    assert all(array.dtype != object for array in plain.values())
    found = flat_texts.restored(plain)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].shape, found[name].tolist()) == (array.shape, array.tolist())


def test_long_ids_of_a_request_are_refused_by_their_bytes() -> None:
    texts.check(np.array(["\u00e9" * 512], object))
    with pytest.raises(ValueError, match=re.escape("element 1 has 1026 bytes; send 1024 or fewer")):
        texts.check(np.array(["a", "\u00e9" * 513], object))
