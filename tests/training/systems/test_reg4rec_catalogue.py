import numpy as np
import pytest
import torch

from training.systems.reg4rec.catalogue import Catalogue
from training.systems.reg4rec.keys import KeyTable, distinct, multipliers

WORDS = 4


def _codes(items: int = 30, codebooks: int = 3, words: int = WORDS, seed: int = 0) -> np.ndarray:
    """Random ones, so that some items share all of them; row 0 is unused."""
    codes = np.random.default_rng(seed).integers(words, size=(items + 1, codebooks))
    codes[0] = 0
    return codes


def _leading(codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """bool [N]: items whose codes agree with the chosen ones (-1: none)."""
    return ((codes[1:] == chosen) | (chosen < 0)).all(1)


def test_a_token_is_allowed_exactly_if_an_item_is_left() -> None:
    codes = _codes()
    catalogue = Catalogue(codes, np.zeros(31, np.int64), WORDS, masked=True)
    every = np.stack(np.meshgrid(*[np.arange(-1, WORDS)] * 3, indexing="ij"), -1).reshape(-1, 3)
    partial = every[(every < 0).any(1)]
    assert catalogue.partial is not None
    allowed = catalogue.partial.allowed(torch.from_numpy(partial)[None])[0].numpy()
    checked = {"some": 0, "none": 0}
    for chosen, found in zip(partial, allowed, strict=True):
        for codebook in np.flatnonzero(chosen < 0):
            left = [
                bool(_leading(codes, np.where(np.arange(3) == codebook, word, chosen)).any()) for word in range(WORDS)
            ]
            assert found[codebook].tolist() == left, (chosen, codebook)
            checked["some" if any(left) else "none"] += 1
    assert min(checked.values()) > 5


def test_a_set_that_several_tuples_share_and_one_that_is_down_to_a_single_tuple_are_both_exact() -> None:
    codes = np.array([[0, 0, 0], [1, 2, 3], [1, 2, 0], [2, 3, 3]])
    catalogue = Catalogue(codes, np.zeros(4, np.int64), WORDS, masked=True)
    assert catalogue.partial is not None
    sets = torch.tensor([[[-1, 2, -1], [2, -1, -1], [0, -1, -1]]])
    several, single, nothing = catalogue.partial.allowed(sets)[0]
    assert several[0].tolist() == [False, True, False, False]
    assert several[2].tolist() == [True, False, False, True]
    assert single[1].tolist() == [False, False, False, True]
    assert not nothing.any()


def test_items_that_share_all_tokens_come_by_popularity_then_by_id() -> None:
    codes = np.array([[0, 0], [1, 1], [2, 0], [1, 1], [1, 1], [0, 0]])
    catalogue = Catalogue(codes, np.array([0, 3, 9, 7, 3, 0]), WORDS, masked=False)
    tuples = catalogue.tuple_of(torch.tensor([[[1, 1], [2, 0], [3, 3], [0, 0]]]))
    assert (tuples < 0).tolist() == [[False, False, True, False]]
    assert catalogue.items_of(tuples).tolist() == [[[3, 1, 4], [2, 0, 0], [0, 0, 0], [5, 0, 0]]]


@pytest.mark.parametrize(("codebooks", "words"), [(1, 5), (4, 256), (8, 300)])
def test_every_set_is_found_and_no_other_whatever_the_size_of_keys(codebooks: int, words: int) -> None:
    codes = _codes(200, codebooks, words)[1:]
    factors = multipliers(codebooks, words)
    assert len(factors) == (2 if codebooks == 8 else 1)
    keys, place = distinct((codes + 1) @ factors.T)
    table = KeyTable(keys, factors, np.arange(len(keys)))
    assert table.find(torch.from_numpy(codes)).tolist() == place.tolist()
    doubled = KeyTable(keys, factors, 2 * np.arange(len(keys)))
    assert doubled.find(torch.from_numpy(codes)).tolist() == (2 * place).tolist()
    others = _codes(500, codebooks, words, seed=1)[1:]
    known = {tuple(row) for row in codes.tolist()}
    found = table.find(torch.from_numpy(others)) >= 0
    assert found.tolist() == [tuple(row) in known for row in others.tolist()]


def test_a_table_that_would_be_too_large_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="set validity to 'checked'"):
        Catalogue(_codes(5000, 12, 300), np.zeros(5001, np.int64), 300, masked=True)
