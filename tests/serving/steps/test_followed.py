"""Which columns of users' rows follow from histories: what a version folder says of them, and what is no such thing."""

from pathlib import Path

import numpy as np
import pytest

from serving.histories.history import Events
from serving.histories.reading import Reading
from serving.steps.followed import FOLLOWS_FILE, Followed, read, values, write

SHELVES = np.array([0, 3, 1, 2])
ITEM = Followed(output="user", place=1, least=4, none=9, of_items=None)
SHELF = Followed(output="user", place=2, least=None, none=5, of_items=SHELVES)
ROWS = {"user": np.zeros((2, 3), np.int64), SHELF.array: SHELVES}
READING = Reading("made", 3, None, None, 6)


def events(*rated: tuple[int, float]) -> Events:
    """Items and values, oldest first."""
    items, given = (np.array([one[place] for one in rated]) for place in (0, 1))
    numbers = np.arange(len(rated))
    return Events(items.astype(np.int64), given.astype(np.float64), numbers, numbers, numbers.astype(np.uint64))


def test_columns_come_back_from_a_folder_and_one_without_the_file_has_none(tmp_path: Path) -> None:
    assert read(tmp_path, ROWS) == ()
    assert {name: array.tolist() for name, array in write(tmp_path, (ITEM, SHELF)).items()} == {
        SHELF.array: SHELVES.tolist()
    }
    found = read(tmp_path, ROWS)
    assert values(found, READING, events((1, 5.0), (2, 3.0))) == [1, 1]
    assert values(found, READING, events((2, 3.0))) == [9, 1]
    assert values(found, READING, events((7, 4.5), (7, 4.0))) == [0, 0], "an item that the release does not know"
    assert values(found, READING, Events.none("int64")) == [9, 5]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{}x",
        "[{}]",
        '[{"output": "user", "place": 3, "least": null, "none": 5, "of_items": null}]',
        '[{"output": "who", "place": 0, "least": null, "none": 5, "of_items": null}]',
        '[{"output": "user", "place": 0, "least": null, "none": 5, "of_items": "gone"}]',
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLLOWS_FILE).write_text(text)
    with pytest.raises(ValueError, match=f"{FOLLOWS_FILE} says nothing of the rows beside it .*: export"):
        read(tmp_path, ROWS)
