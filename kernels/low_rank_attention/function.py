"""Low-rank attention in standard ONNX operators: one padded row of candidates per user, as long as the longest; a
product of one user alone needs none.

The nodes `LowRankAttention` and `LowRankSoftmaxAttention` (queries [C, H, E], ends [B], keys [B, H, R, E], values
[B, H, R, V], bias [B, H V]), the same with `Ranked` behind their names (and ranks [B] behind their inputs), and
`AbsorbedAttention` (targets [C, D], ends [B], product [B, D, H V], bias [B, H V]) put out [C, H V]. Floats are fp32
or fp16 and computed in fp32, integers int32 or int64, B >= 1.
"""

from collections.abc import Callable
from functools import partial

import onnx

from kernels.bodies import parse_body

# One row of zeros after the candidates: what padding reads, also where there is no candidate at all.
_PAD = """
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    minus_one = Constant <value_ints = [-1]> ()
    candidates = Cast <to = 1> (queries)
    total = Shape <start = 0, end = 1> (queries)
    given = Cast <to = 7> (ends)
    bounded = Min (given, total)
    inner = Slice (bounded, zero, minus_one)
    stops = Concat <axis = 0> (inner, total)
    starts = Concat <axis = 0> (zero, inner)
    counts = Sub (stops, starts)
    most = ReduceMax <keepdims = 1> (counts)
    longest = Max (most, one)
    scalar = Squeeze (longest)
    first = Squeeze (zero)
    step = Squeeze (one)
    slots = Range (first, scalar, step)
    starts_column = Unsqueeze (starts, one)
    counts_column = Unsqueeze (counts, one)
    beyond = Add (starts_column, slots)
    position = Min (beyond, total)
    used = Less (slots, counts_column)
    flat_used = Reshape (used, minus_one)
"""

# Row-major order of the used slots is the packed order.
_PACK = """
    biases = Cast <to = 1> (bias)
    biases_row = Unsqueeze (biases, one)
    attended = Add (joined, biases_row)
    width = Shape <start = 1, end = 2> (bias)
    flat_shape = Concat <axis = 0> (minus_one, width)
    flat = Reshape (attended, flat_shape)
    packed = Compress <axis = 0> (flat, flat_used)
"""

_FACTORED = """{name} ({inputs}) => (outputs) {{
    {pad}
    row_pads = Constant <value_ints = [0, 0, 0, 1, 0, 0]> ()
    extended = Pad (candidates, row_pads)
    rows = Gather <axis = 0> (extended, position)
    by_head = Transpose <perm = [0, 2, 1, 3]> (rows)
    all_keys = Cast <to = 1> (keys)
    all_values = Cast <to = 1> (values)
    {state}
    turned = Transpose <perm = [0, 1, 3, 2]> (own_keys)
    scores = MatMul (by_head, turned)
    {weights}
    interest = MatMul (weights, own_values)
    per_candidate = Transpose <perm = [0, 2, 1, 3]> (interest)
    keep = Constant <value_ints = [0, 0, -1]> ()
    joined = Reshape (per_candidate, keep)
    {pack}
    outputs = CastLike (packed, queries)
}}"""

_ALL_ROWS = """
    own_keys = Identity (all_keys)
    own_values = Identity (all_values)
"""

# Rows beyond a user's rank become zeros, whatever they hold.
_RANKED_ROWS = """
    rank = Shape <start = 2, end = 3> (keys)
    rank_scalar = Squeeze (rank)
    numbers = Range (first, rank_scalar, step)
    user_ranks = Cast <to = 7> (ranks)
    ranks_column = Unsqueeze (user_ranks, one)
    valid = Less (numbers, ranks_column)
    state_axes = Constant <value_ints = [1, 3]> ()
    valid_rows = Unsqueeze (valid, state_axes)
    nought = Constant <value_float = 0.0> ()
    own_keys = Where (valid_rows, all_keys, nought)
    own_values = Where (valid_rows, all_values, nought)
"""

_LINEAR = "weights = Identity (scores)"

_SOFTMAX = "weights = Softmax <axis = -1> (scores)"

_RANKED_SOFTMAX = """
    score_axes = Constant <value_ints = [1, 2]> ()
    valid_scores = Unsqueeze (valid, score_axes)
    masked = Constant <value_float = -1e9> ()
    own_scores = Where (valid_scores, scores, masked)
    weights = Softmax <axis = -1> (own_scores)
"""

# One user's product needs no padding, and is what a run of one large request is.
_ABSORBED = """AbsorbedAttention (queries, ends, product, bias) => (outputs) {{
    users = Shape <start = 0, end = 1> (ends)
    single = Constant <value_ints = [1]> ()
    is_single = Equal (users, single)
    alone = Squeeze (is_single)
    outputs = If (alone) <
        then_branch = of_one () => (own) {{
            user = Constant <value_ints = [0]> ()
            wide = Cast <to = 1> (queries)
            wide_product = Cast <to = 1> (product)
            wide_bias = Cast <to = 1> (bias)
            own_product = Squeeze (wide_product, user)
            own_bias = Squeeze (wide_bias, user)
            interest = MatMul (wide, own_product)
            biased = Add (interest, own_bias)
            own = CastLike (biased, queries)
        }},
        else_branch = of_many () => (all) {{
            {pad}
            row_pads = Constant <value_ints = [0, 0, 1, 0]> ()
            extended = Pad (candidates, row_pads)
            rows = Gather <axis = 0> (extended, position)
            products = Cast <to = 1> (product)
            joined = MatMul (rows, products)
            {pack}
            all = CastLike (packed, queries)
        }}
    >
}}"""


def _factored(name: str, weights: str, *, ranked: bool) -> onnx.FunctionProto:
    inputs = "queries, ends, keys, values, bias" + (", ranks" if ranked else "")
    state = _RANKED_ROWS if ranked else _ALL_ROWS
    return parse_body(_FACTORED.format(name=name, inputs=inputs, pad=_PAD, state=state, weights=weights, pack=_PACK))


def absorbed_body() -> onnx.FunctionProto:
    """`AbsorbedAttention`."""
    return parse_body(_ABSORBED.format(pad=_PAD, pack=_PACK))


FUNCTIONS: dict[str, Callable[[], onnx.FunctionProto]] = {
    "AbsorbedAttention": absorbed_body,
    **{
        name: partial(_factored, name, weights, ranked=ranked)
        for name, weights, ranked in (
            ("LowRankAttention", _LINEAR, False),
            ("LowRankAttentionRanked", _LINEAR, True),
            ("LowRankSoftmaxAttention", _SOFTMAX, False),
            ("LowRankSoftmaxAttentionRanked", _RANKED_SOFTMAX, True),
        )
    },
}
