"""What Combo-ID attention cannot do without, and what the kernels ask for."""

from dataclasses import dataclass

from kernels.combo_id_attention.configs import Config
from kernels.devices import Work


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of one call."""

    requests: int
    candidates: int
    """Over all requests."""
    user: int
    """Fields of a user."""
    item: int
    """Fields of an item."""
    heads: int
    width: int
    """Of one head."""
    itemsize: int
    """Bytes of an element of tokens and output."""
    score_itemsize: int
    """Bytes of an element of the codebooks."""

    @property
    def user_pairs(self) -> int:
        """Of one request."""
        return self.user * (self.user - 1) // 2

    @property
    def item_pairs(self) -> int:
        """Of one candidate: with the user's fields and among its own."""
        return self.user * self.item + self.item * (self.item - 1) // 2

    @property
    def pairs(self) -> int:
        """That are looked up, each in both codebooks."""
        return self.requests * self.user_pairs + self.candidates * self.item_pairs


def work(sizes: Sizes) -> Work:
    """Bytes and floating-point operations of one call.

    Tokens, ids (int64), ends (int32), salt, mix and tau are read once, and of each codebook the row of each pair: two
    pairs share a row by chance only. Operations are those of the matrix products.
    """
    fields = sizes.user + sizes.item
    token = (3 * sizes.heads + 2) * sizes.width * sizes.itemsize
    rows = sizes.requests * sizes.user + sizes.candidates * sizes.item
    tables = 8 * fields * 8 + 3 * sizes.heads * 4 + fields * fields * 4
    scores = 2 * sizes.pairs * sizes.heads * sizes.score_itemsize
    return Work(
        read=rows * (token + 8) + sizes.requests * 4 + tables + scores,
        written=sizes.candidates * fields * sizes.heads * sizes.width * sizes.itemsize,
        operations=2 * sizes.width * (_dots(sizes) + sizes.pairs),
        precision="fp16" if sizes.itemsize == 2 else "fp32",
    )


def integer_operations(sizes: Sizes) -> int:
    """To find the rows of all pairs: add, compare, subtract, select and remainder, for both codebooks.

    The remainder by a constant is itself about four instructions on a GPU.
    """
    return 2 * 5 * sizes.pairs


def requested(sizes: Sizes, config: Config) -> int:
    """Bytes that the programs of both kernels ask for, where one request has all candidates.

    Raises ValueError for more requests: there it depends on how candidates fall into programs.
    """
    if sizes.requests != 1:
        raise ValueError(f"requested bytes have a closed form for one request, not for {sizes.requests}")
    blocks = -(-sizes.heads // config.heads)
    programs = -(-sizes.candidates // config.candidates)
    by_user, by_item = _field_bytes(sizes, sizes.user, blocks), _field_bytes(sizes, sizes.item, blocks)
    gate = sizes.width * sizes.itemsize * blocks
    sums = sizes.user * sizes.heads * (2 + sizes.width) * 4
    scores = 2 * sizes.heads * sizes.score_itemsize
    user_salt, item_salt = (8 * count * 8 * blocks for count in (sizes.user, sizes.item))
    mix = 3 * sizes.heads * 4
    user_pass = by_user + 2 * sizes.user * gate + user_salt + sizes.user**2 * 4 * blocks + mix + sums
    tau = (2 * sizes.user * sizes.item + sizes.item**2) * 4 * blocks
    once = mix + tau + 4 * blocks + by_user + sizes.user * gate + user_salt + sums
    each = by_item + item_salt + 2 * sizes.item * gate + scores * sizes.item_pairs
    if not sizes.user:
        user_pass = 0
    return user_pass + scores * sizes.user_pairs + programs * once + sizes.candidates * each + work(sizes).written


def _field_bytes(sizes: Sizes, fields: int, blocks: int) -> int:
    """Queries, keys and values of one row of fields, and their ids once per block of heads."""
    return fields * (3 * sizes.heads * sizes.width * sizes.itemsize + 8 * blocks)


def _dots(sizes: Sizes) -> int:
    """Inner products of width D: scores and weighted sums, for every head and ordered pair."""
    ordered = sizes.requests * sizes.user**2 + sizes.candidates * (2 * sizes.user * sizes.item + sizes.item**2)
    return 2 * sizes.heads * ordered
