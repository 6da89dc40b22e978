"""What one step of consistency pruning cannot do without."""

from dataclasses import dataclass

from kernels.devices import Work


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of one call; legend in `state.py`."""

    requests: int
    candidates: int
    slots: int
    codebooks: int
    window: int
    width: int = 1


def work(sizes: Sizes, itemsize: int = 4) -> Work:
    """Bytes and integer operations of one call whose scores take `itemsize` bytes; all else is int32.

    All scores are read; token and category only of the candidates in the window; the beams once, without their
    scores. The next beams are written once, with parents, tokens and a counter. Operations: a sort by comparisons,
    and one agreement per candidate of the window.
    """
    seen = min(sizes.window, sizes.candidates)
    integers_read = seen * (1 + sizes.width) + sizes.slots * (sizes.codebooks + sizes.width + 1) + 1
    integers_written = sizes.slots * (sizes.codebooks + sizes.width + 3) + 1
    comparisons = sizes.candidates * max(1, (sizes.candidates - 1).bit_length())
    return Work(
        read=sizes.requests * (sizes.candidates * itemsize + 4 * integers_read),
        written=sizes.requests * (sizes.slots * itemsize + 4 * integers_written),
        operations=sizes.requests * (comparisons + 2 * seen * sizes.width),
        precision="int32",
    )
