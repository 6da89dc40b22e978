"""What path sampling and the sketch lookup cannot do without."""

from dataclasses import dataclass

from kernels.devices import Work

PHILOX_OPERATIONS = 80
"""Integer operations of one block of random words: ten rounds of two wide products, four xors, two key steps."""

_FIELD_OPERATIONS = 5
"""Of one field in one draw: offset, minimum, maximum, compare, subtract."""

_DRAW_OPERATIONS = PHILOX_OPERATIONS + 3
"""Of one draw beside its fields: the words, and product, remainder and compare of the first."""

_COUNTER_OPERATIONS = 4
"""Of one counter of a block: sign, column, compare, minimum."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of one call."""

    rows: int
    fields: int
    paths: int
    draws: int
    given_words: bool = False
    """Random words are read, 16 bytes a draw, rather than made from an 8-byte key a row."""


def work(sizes: Sizes) -> Work:
    """int32 weights and keys (or words) read once, int64 masks and int32 flags written once."""
    draws = sizes.paths * sizes.draws
    source = 16 * draws if sizes.given_words else 8
    own = _DRAW_OPERATIONS - (PHILOX_OPERATIONS if sizes.given_words else 0)
    return Work(
        read=sizes.rows * (4 * sizes.fields + source),
        written=sizes.rows * (8 * sizes.paths + 4),
        operations=sizes.rows * draws * (own + _FIELD_OPERATIONS * sizes.fields),
        precision="int32",
    )


def sketch_work(keys: int, block_bytes: int) -> Work:
    """int64 keys and one block a key read, int32 bounds written.

    Keys that share a block read it once each: which blocks coincide is chance, and a large sketch has few that do.
    """
    return Work(
        read=keys * (8 + block_bytes),
        written=keys * 4,
        operations=keys * (PHILOX_OPERATIONS + _COUNTER_OPERATIONS * block_bytes // 4),
        precision="int32",
    )
