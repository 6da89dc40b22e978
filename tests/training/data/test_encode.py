"""Categories by name become ids."""

from training.data.encode import encode


def test_categories_are_numbered_by_the_alphabet_from_one_and_nothing_is_unknown() -> None:
    ids, names = encode(["b", None, "a", "b"])
    assert ids.tolist() == [2, 0, 1, 2]
    assert names == ("unknown", "a", "b")
