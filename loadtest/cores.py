"""Which cores the server and the load generator use, so that one does not take the other's time."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Pinning(NamedTuple):
    """Cores by number."""

    server: tuple[int, ...]
    load: tuple[int, ...]


def split() -> Pinning:
    """The last core of this process for the load, the others for the server; a single one is shared."""
    cores = sorted(os.sched_getaffinity(0))
    return Pinning(tuple(cores[:-1] or cores), tuple(cores[-1:]))


@contextmanager
def started_on(cores: Iterable[int]) -> Iterator[None]:
    """What this thread starts inside runs on these cores for good; the thread itself only meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
