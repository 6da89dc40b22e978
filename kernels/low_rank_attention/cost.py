"""What low-rank attention cannot do without, and which layout of a user's state is the cheapest to serve."""

from dataclasses import dataclass
from typing import Literal

from kernels.devices import Work

Layout = Literal["unabsorbed", "factored", "absorbed"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of one call."""

    users: int
    candidates: int
    """Over all users."""
    heads: int
    rank: int
    key: int
    """Width of one head's keys."""
    value: int
    """Width of one head's values."""
    width: int = 0
    """Width D of a target; only the absorbed layout reads targets."""
    history: int = 0
    """Events n of the longest history; only the unabsorbed layout has rows for them."""


def work(sizes: Sizes, itemsize: int, layout: Layout = "factored") -> Work:
    """Bytes and floating-point operations of one call whose elements take `itemsize` (2 or 4) bytes.

    Queries, states and int64 `ends` are read once, outputs written once; ranks, where given, cost 8 bytes a user.
    """
    out = sizes.heads * sizes.value
    per_candidate = sizes.width if layout == "absorbed" else sizes.heads * sizes.key
    read = sizes.candidates * per_candidate + sizes.users * (state_elements(sizes, layout) + out)
    multiply_adds = sizes.candidates * state_elements(sizes, layout)
    return Work(
        read=read * itemsize + sizes.users * 8,
        written=sizes.candidates * out * itemsize,
        operations=2 * multiply_adds,
        precision="fp16" if itemsize == 2 else "fp32",
    )


def state_elements(sizes: Sizes, layout: Layout) -> int:
    """Elements of one user's state without its bias; also the multiply-adds of one candidate."""
    if layout == "absorbed":
        return sizes.width * sizes.heads * sizes.value
    rows = sizes.rank if layout == "factored" else sizes.history
    return sizes.heads * rows * (sizes.key + sizes.value)


def served_elements(sizes: Sizes, layout: Layout, candidates_per_user: int) -> int:
    """Elements read for one user: the state, and queries (or targets) of all its candidates."""
    per_candidate = sizes.width if layout == "absorbed" else sizes.heads * sizes.key
    return state_elements(sizes, layout) + candidates_per_user * per_candidate


def best_layout(sizes: Sizes) -> Layout:
    """The layout with the fewest multiply-adds a candidate, which is also that with the smallest state to store.

    Ties go to the layout that keeps more structure: unabsorbed before factored before absorbed. Factored against
    absorbed turns at r = D V / (E + V), a head's widths E and V. Softmax cannot be absorbed: keep it factored.
    Raises ValueError where the sizes leave no layout to compare.
    """
    if not sizes.width or not sizes.history:
        raise ValueError("best_layout compares all layouts: give width and history in Sizes")
    layouts: tuple[Layout, ...] = ("unabsorbed", "factored", "absorbed")
    return min(layouts, key=lambda layout: state_elements(sizes, layout))
