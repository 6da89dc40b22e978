"""What the shop knows of its customers. Here it is drawn from a seed; yours reads the held-out day."""

from typing import NamedTuple

import numpy as np

NUM_USERS, NUM_ITEMS, NUM_TOPICS, NUM_WORDS = 60, 120, 4, 80
NUM_CANDIDATES, NUM_TITLE_WORDS = 20, 6
TRAINING, HELD_OUT = 1, 2
"""Seeds."""


class Clicks(NamedTuple):
    """N pages that users saw, with the one item that they clicked."""

    user: np.ndarray
    """int64 [N, 1]."""
    items: np.ndarray
    """int64 [N, NUM_CANDIDATES]."""
    clicked: np.ndarray
    """int64 [N]: place of the item on its page."""


class Titles(NamedTuple):
    """N titles of items, with the topic that an editor gave."""

    words: np.ndarray
    """int64 [N, NUM_TITLE_WORDS]."""
    topic: np.ndarray
    """int64 [N]."""


def clicks(seed: int, num_pages: int) -> Clicks:
    """A user likes one topic, and mostly clicks an item of it; user and item u are of topic u % NUM_TOPICS."""
    random = np.random.default_rng(seed)
    user = random.integers(0, NUM_USERS, num_pages)
    items = random.integers(0, NUM_ITEMS, (num_pages, NUM_CANDIDATES))
    liked = (items % NUM_TOPICS == user[:, None] % NUM_TOPICS) + 0.3 * random.random(items.shape)
    return Clicks(user[:, None], items, liked.argmax(-1))


def titles(seed: int, num_titles: int) -> Titles:
    """Half of the words of a title are of its topic, as word w is of topic w % NUM_TOPICS; the others are any."""
    random = np.random.default_rng(seed)
    topic = random.integers(0, NUM_TOPICS, num_titles)
    words = random.integers(0, NUM_WORDS, (num_titles, NUM_TITLE_WORDS))
    own = words // NUM_TOPICS * NUM_TOPICS + topic[:, None]
    return Titles(np.where(random.random(words.shape) < 0.5, own, words), topic)
