"""The ONNX function `recserve::ComboIdAttention`: the op in standard operators, for runtimes without our kernel.

One body for every size and for fp16 and fp32: sizes come from shapes, arithmetic is fp32, the result has the tokens'
type. Pairs of two user fields are hashed, looked up and gated once per request, then repeated for its candidates
(`owner`: the user's fields, one row per candidate).
"""

import onnx

from kernels.bodies import parse_body
from kernels.combo_id_attention.reference import PRIMES

_FLOAT, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
_LOWEST = -3.4028234663852886e38
"""The score of a dropped pair: finite, because some runtimes are careless with infinities."""


def combo_id_attention_function() -> onnx.FunctionProto:
    """Inputs and output as in `op.py`."""
    statements = [
        _SIZES,
        _REQUESTS,
        _side("user"),
        _side("item"),
        *(_repeat(part) for part in ("query", "key", "value", "gate_query", "first_code", "second_code")),
        _pairs("user", "user"),
        _mirror("user"),
        _pairs("owner", "item"),
        _pairs("item", "item"),
        _mirror("item"),
        _WHOLE,
        _ATTEND,
    ]
    return parse_body(
        "ComboIdAttention (user_tokens, user_ids, item_tokens, item_ids, ends, first, second, salt, mix, tau)"
        f" => (output) {{ {' '.join(statements)} }}"
    )


_SIZES = f"""
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    axis_0 = Constant <value_ints: ints = [0]> ()
    axis_1 = Constant <value_ints: ints = [1]> ()
    axis_2 = Constant <value_ints: ints = [2]> ()
    axis_3 = Constant <value_ints: ints = [3]> ()
    two = Constant <value_int: int = 2> ()
    three = Constant <value_int: int = 3> ()
    coded_column = Constant <value_ints: ints = [0, 0, 1, 0]> ()
    coded_salt = Unsqueeze (coded_column, axis_1)
    differences = Sub (salt, coded_salt)
    distances = Abs (differences)
    distance = ReduceSum <keepdims: int = 0> (distances)
    is_coded = Equal (distance, zero)
    first_prime = Constant <value_int: int = {PRIMES[0]}> ()
    second_prime = Constant <value_int: int = {PRIMES[1]}> ()
    first_size = Shape <start: int = 0, end: int = 1> (first)
    second_size = Shape <start: int = 0, end: int = 1> (second)
    heads = Shape <start: int = 1, end: int = 2> (mix)
    width = Shape <start: int = 2, end: int = 3> (item_tokens)
    heads_times_three = Mul (heads, three)
    parts = Add (heads_times_three, two)
    head_width = Div (width, parts)
    by_part = Concat <axis: int = 0> (heads, axis_1, heads, axis_1, heads)
    user_fields = Shape <start: int = 1, end: int = 2> (user_ids)
    item_fields = Shape <start: int = 1, end: int = 2> (item_ids)
    float_width = Cast <to: int = {_FLOAT}> (head_width)
    root_width = Sqrt (float_width)
    scale = Reciprocal (root_width)
"""

# A candidate's request is the number of requests that end before it or at it.
_REQUESTS = f"""
    count = Shape <start: int = 0, end: int = 1> (item_ids)
    stop = Squeeze (count, axis_0)
    order = Range (zero, stop, one)
    row = Unsqueeze (order, axis_1)
    long_ends = Cast <to: int = {_INT64}> (ends)
    past = LessOrEqual (long_ends, row)
    past_number = Cast <to: int = {_INT64}> (past)
    requests_past = ReduceSum <keepdims: int = 0> (past_number, axis_1)
    requests = Shape <start: int = 0, end: int = 1> (ends)
    last_request = Sub (requests, one)
    request = Min (requests_past, last_request)
"""


def _side(side: str) -> str:
    """Heads and codes of the fields of users or items."""
    return f"""
        {side}_rows = Shape <start: int = 0, end: int = 1> ({side}_ids)
        {side}_shape = Concat <axis: int = 0> ({side}_rows, {side}_fields, parts, head_width)
        {side}_float = Cast <to: int = {_FLOAT}> ({side}_tokens)
        {side}_by_field = Reshape <allowzero: int = 1> ({side}_float, {side}_shape)
        {side}_by_head = Transpose <perm: ints = [0, 2, 1, 3]> ({side}_by_field)
        {side}_query, {side}_gate_query, {side}_key, {side}_gate_key, {side}_value = Split <axis: int = 1> (
            {side}_by_head, by_part)
        {_code(side, "first")}
        {_code(side, "second")}
    """


def _code(side: str, book: str) -> str:
    """Equation (1); no more than the rest where the salt says that ids are `reference.coded_ids`, which a runtime that
    folds constants knows when it loads the graph."""
    name = f"{side}_{book}"
    return f"""
        {name}_x = Mod ({side}_ids, {book}_prime)
        {name}_code = If (is_coded) <
            then_branch: graph = coded () => (int64[?, ?] {name}_coded) {{ {name}_coded = Identity ({name}_x) }},
            else_branch: graph = hashed () => (int64[?, ?] {name}_hashed) {{
                {name}_sides = Concat <axis: int = 0> (user_fields, item_fields)
                {name}_of_user, {name}_of_item = Split <axis: int = 2> (salt, {name}_sides)
                {name}_of_first, {name}_of_second = Split <axis: int = 0, num_outputs: int = 2> ({name}_of_{side})
                {name}_factors = Squeeze ({name}_of_{book}, axis_0)
                {name}_a, {name}_b, {name}_c, {name}_d = Split <axis: int = 0, num_outputs: int = 4> ({name}_factors)
                {name}_cubic = Mul ({name}_a, {name}_x)
                {name}_cubic_sum = Add ({name}_cubic, {name}_b)
                {name}_cubic_rest = Mod ({name}_cubic_sum, {book}_prime)
                {name}_square = Mul ({name}_cubic_rest, {name}_x)
                {name}_square_sum = Add ({name}_square, {name}_c)
                {name}_square_rest = Mod ({name}_square_sum, {book}_prime)
                {name}_linear = Mul ({name}_square_rest, {name}_x)
                {name}_sum = Add ({name}_linear, {name}_d)
                {name}_hashed = Mod ({name}_sum, {book}_prime)
            }}
        >
    """


def _repeat(part: str) -> str:
    return f"owner_{part} = Gather <axis: int = 0> (user_{part}, request)"


def _pairs(left: str, right: str) -> str:
    """Equations (2) to (4) without the mirror."""
    name = f"{left}_{right}"
    return f"""
        {_scores(left, right, "first")}
        {_scores(left, right, "second")}
        {name}_gate_columns = Transpose <perm: ints = [0, 1, 3, 2]> ({right}_gate_key)
        {name}_gate_dot = MatMul ({left}_gate_query, {name}_gate_columns)
        {name}_gate_score = Mul ({name}_gate_dot, scale)
        {name}_gate = Sigmoid ({name}_gate_score)
        {name}_difference = Sub ({name}_first, {name}_second)
        {name}_part = Mul ({name}_gate, {name}_difference)
        {name}_scores = Add ({name}_second, {name}_part)
    """


def _scores(left: str, right: str, book: str) -> str:
    """Equation (2), and the scores of these rows."""
    name = f"{left}_{right}_{book}"
    return f"""
        {name}_left = Unsqueeze ({left}_{book}_code, axis_2)
        {name}_right = Unsqueeze ({right}_{book}_code, axis_1)
        {name}_sum = Add ({name}_left, {name}_right)
        {name}_hash = Mod ({name}_sum, {book}_prime)
        {name}_row = Mod ({name}_hash, {book}_size)
        {name}_found = Gather <axis: int = 0> ({book}, {name}_row)
        {name}_float = Cast <to: int = {_FLOAT}> ({name}_found)
        {name} = Transpose <perm: ints = [0, 3, 1, 2]> ({name}_float)
    """


def _mirror(side: str) -> str:
    return f"""
        {side}_upper = Trilu <upper: int = 1> ({side}_{side}_scores, one)
        {side}_lower = Transpose <perm: ints = [0, 1, 3, 2]> ({side}_upper)
        {side}_combo = Add ({side}_upper, {side}_lower)
    """


_WHOLE = """
    owner_combo = Gather <axis: int = 0> (user_combo, request)
    item_owner_scores = Transpose <perm: ints = [0, 1, 3, 2]> (owner_item_scores)
    owner_rows = Concat <axis: int = 3> (owner_combo, owner_item_scores)
    item_all_rows = Concat <axis: int = 3> (item_owner_scores, item_combo)
    combo = Concat <axis: int = 2> (owner_rows, item_all_rows)
    query = Concat <axis: int = 2> (owner_query, item_query)
    key = Concat <axis: int = 2> (owner_key, item_key)
    value = Concat <axis: int = 2> (owner_value, item_value)
"""

# Equations (5) to (8).
_ATTEND = f"""
    columns = Transpose <perm: ints = [0, 1, 3, 2]> (key)
    product = MatMul (query, columns)
    dot = Mul (product, scale)
    mix_shape = Concat <axis: int = 0> (heads, axis_1, axis_1)
    combo_row, dot_row, both_row = Split <axis: int = 0, num_outputs: int = 3> (mix)
    combo_weight = Reshape (combo_row, mix_shape)
    dot_weight = Reshape (dot_row, mix_shape)
    both_weight = Reshape (both_row, mix_shape)
    both = Mul (combo, dot)
    from_combo = Mul (combo_weight, combo)
    from_dot = Mul (dot_weight, dot)
    from_both = Mul (both_weight, both)
    from_one = Add (from_combo, from_dot)
    score = Add (from_one, from_both)
    floor = Constant <value_float: float = 0.0> ()
    full = Constant <value_float: float = 1.0> ()
    always = Constant <value_float: float = -1.0> ()
    lowest = Constant <value_float: float = {_LOWEST}> ()
    eye = EyeLike (tau)
    self_pair = Cast <to: int = {onnx.TensorProto.BOOL}> (eye)
    threshold = Where (self_pair, always, tau)
    open = Sigmoid (dot)
    margin = Sub (open, threshold)
    kept = Clip (margin, floor, full)
    dropped = Equal (kept, floor)
    kept_score = Where (dropped, lowest, score)
    highest = ReduceMax <keepdims: int = 1> (kept_score, axis_3)
    shifted = Sub (kept_score, highest)
    power = Exp (shifted)
    weight = Mul (power, kept)
    total = ReduceSum <keepdims: int = 1> (weight, axis_3)
    weighted = MatMul (weight, value)
    by_head = Div (weighted, total)
    by_field = Transpose <perm: ints = [0, 2, 1, 3]> (by_head)
    all_fields = Add (user_fields, item_fields)
    all_heads = Mul (heads, head_width)
    output_shape = Concat <axis: int = 0> (count, all_fields, all_heads)
    merged = Reshape <allowzero: int = 1> (by_field, output_shape)
    output = CastLike (merged, item_tokens)
"""


FUNCTIONS = {"ComboIdAttention": combo_id_attention_function}
"""ONNX node -> builder of its function."""
