"""A history follows from which events arrived: not from their order, nor from how often, nor from who brought them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.histories.history import Events, decode, encode, id_of, merged
from serving.histories.keys import Whose, prefix
from serving.histories.value import HEAD_BYTES, DamagedError, digest_of

KEY = Whose("shop", "anna").key
EVENT = st.tuples(st.integers(1, 9), st.integers(0, 2), st.integers(0, 6), st.integers(0, 1))
"""Item, value, time, order: few of each, so that moments tie."""


def events(rows: list[tuple[int, int, int, int]], *, text: bool = False) -> Events:
    columns = [np.array([row[place] for row in rows], np.int64) for place in range(4)]
    items = np.array([f"item {row[0]} \u00e9" for row in rows], object) if text else columns[0]
    ids = np.array([id_of(str(row)) for row in rows], np.uint64)
    return Events(items, columns[1].astype(float), columns[2], columns[3], ids)


def kept(parts: list[Events], most: int) -> bytes:
    history = Events.none("int64")
    for part in parts:
        history = merged(history, part, most).history
    return encode(KEY, history)


@given(st.lists(st.lists(EVENT, max_size=6), max_size=6), st.integers(1, 8), st.randoms())
def test_order_repetition_and_cuts_do_not_matter(batches: list, most: int, random) -> None:
    rows = [row for batch in batches for row in batch]
    expected = kept([events(batch) for batch in batches], most)
    shuffled = [*rows, *rows[: len(rows) // 2]]
    random.shuffle(shuffled)
    cut = random.randint(0, len(shuffled))
    assert kept([events(shuffled[:cut]), events(shuffled[cut:])], most) == expected
    newest = sorted({*rows}, key=lambda row: (row[2], row[3], id_of(str(row))))[-most:]
    assert kept([events(newest)], most) == expected


def test_each_event_is_told_what_came_of_it() -> None:
    first = merged(Events.none("int64"), events([(1, 1, 10, 0), (2, 1, 20, 0), (2, 1, 20, 0)]), 2)
    assert first.outcomes == ["applied", "applied", "duplicate"]
    second = merged(first.history, events([(3, 1, 30, 0), (1, 1, 10, 0), (4, 1, 5, 0)]), 2)
    assert second.outcomes == ["applied", "duplicate", "dropped"]
    assert second.history.items.tolist() == [2, 3]
    third = merged(second.history, events([(1, 1, 10, 0)]), 2)
    assert third.outcomes == ["dropped"], "what fell out does not come back"


@pytest.mark.parametrize("other", [(9, 1, 10, 0), (1, 2, 10, 0), (1, 1, 11, 0)])
def test_another_event_of_a_known_id_is_a_conflict_and_changes_nothing(other: tuple[int, int, int, int]) -> None:
    one = events([(1, 1, 10, 0)])
    found = merged(one, events([other])._replace(ids=one.ids), 5)
    assert found.outcomes == ["conflict"]
    assert encode(KEY, found.history) == encode(KEY, one)


def test_an_event_that_says_no_order_is_the_one_that_says_it() -> None:
    one = events([(1, 1, 10, 3)])
    found = merged(one, events([(1, 1, 10, 0)])._replace(ids=one.ids), 5)
    assert found.outcomes == ["duplicate"]
    assert encode(KEY, found.history) == encode(KEY, one)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("number", [0, 1, 300])
def test_what_is_written_is_read(text: bool, number: int) -> None:
    rows = [(n % 9 + 1, n % 3, n, -n) for n in range(number)]
    history = events(rows, text=text)
    value = encode(KEY, history)
    read = decode(KEY, value)
    assert [column.tolist() for column in read] == [column.tolist() for column in history]
    assert [column.dtype for column in read] == [column.dtype for column in history]
    assert digest_of(value[:HEAD_BYTES]) == digest_of(value)
    if not text:
        assert len(value) == 40 * number + 28, "bytes of an event, and of a history"


def test_a_digest_changes_with_every_column() -> None:
    one = events([(1, 1, 10, 0), (2, 2, 20, 1)])
    digests = {digest_of(encode(KEY, one))}
    for name in one._fields:
        column = getattr(one, name).copy()
        column[1] += 1
        digests.add(digest_of(encode(KEY, one._replace(**{name: column}))))
    assert len(digests) == 1 + len(one._fields)


def test_damage_is_told_and_never_read() -> None:
    value = bytearray(encode(KEY, events([(1, 1, 10, 0), (2, 2, 20, 1)])))
    for place in range(len(value)):
        broken = bytes(value[:place]) + bytes([value[place] ^ 1]) + bytes(value[place + 1 :])
        with pytest.raises(DamagedError):
            decode(KEY, broken)
    for size in (0, 10, HEAD_BYTES, len(value) - 1):
        with pytest.raises(DamagedError, match="cut short"):
            decode(KEY, bytes(value[:size]))
    with pytest.raises(DamagedError, match="checksum"):
        decode(Whose("shop", "berta").key, bytes(value))


def test_keys_tell_users_and_data_sets_apart() -> None:
    users: list[int | str] = [1, "1", -1, "-1", 2**63 - 1, "a" * 200, "a" * 201, "a" * 202, "\u00e9" * 512]
    keys = {Whose(dataset, user).key for dataset in ("shop", "sho") for user in users}
    assert len(keys) == 2 * len(users)
    assert max(map(len, keys)) <= 511
    assert sum(key.startswith(prefix("shop")) for key in keys) == len(users)
    with pytest.raises(ValueError, match="takes 201 bytes"):
        prefix("x" * 201)
