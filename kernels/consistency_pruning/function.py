"""Consistency pruning in standard ONNX operators, decisions on integers.

Node `ConsistencyPruning` with the tensors of `Candidates`, then codes, last and match of `Beams`, then need; attributes
of `Rule`; outputs in the order of `op.Flat`. TopK is never relied on for equal values: what it sorts by score is ranked
anew by unique int64 keys. Whether there is a penalty is a constant, by which a runtime that folds constants leaves the
other mode's part away. K entries without a candidate are put behind the C of a request, so that no axis is empty.
"""

from collections.abc import Callable

import onnx

from kernels.bodies import parse_body


def _stable_order(name: str, values: str) -> str:
    """Statements that set `{name}` [B, N] to the positions of fp32 `values` by (value descending, position ascending).

    Equal values get equal groups, groups ascend as values descend, and group * N + position is unique.
    """
    return f"""
    {name}_values, {name}_places = TopK <axis = 1> ({values}, entries_1d)
    {name}_before = Slice ({name}_values, at_0, entries_less_1, axis_1)
    {name}_after = Slice ({name}_values, at_1, entries_1d, axis_1)
    {name}_equal = Equal ({name}_before, {name}_after)
    {name}_steps = Where ({name}_equal, zero, one)
    {name}_padded = Pad ({name}_steps, one_in_front)
    {name}_groups = CumSum ({name}_padded, one)
    {name}_high = Mul ({name}_groups, entries)
    {name}_keys = Add ({name}_high, {name}_places)
    {name}_sorted, {name}_ranks = TopK <axis = 1, largest = 0> ({name}_keys, entries_1d)
    {name} = Mod ({name}_sorted, entries)"""


_BODY = f"""ConsistencyPruning <window, codebook_size, min_keep, penalty> (
    scores, tokens, categories, codes, last, match, need
) => (next_scores, next_codes, next_last, next_match, parents, next_tokens, disagreeing) {{
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    minus_one = Constant <value_int = -1> ()
    at_0 = Constant <value_ints = [0]> ()
    at_1 = Constant <value_ints = [1]> ()
    axis_1 = Constant <value_ints = [1]> ()
    axis_2 = Constant <value_ints = [2]> ()
    one_in_front = Constant <value_ints = [0, 1, 0, 0]> ()
    nothing_32 = Constant <value_float = -inf> ()
    zero_32 = Constant <value_float = 0.0> ()
    width_limit = Constant <value_int: int = @window> ()
    words = Constant <value_int: int = @codebook_size> ()
    least = Constant <value_int: int = @min_keep> ()
    price = Constant <value_float: float = @penalty> ()

    slot_shape = Shape (match)
    slots_1d = Shape <start = 1, end = 2> (match)
    slots = Squeeze (slots_1d)
    books_1d = Shape <start = 2, end = 3> (codes)
    books = Squeeze (books_1d)
    width_1d = Shape <start = 2, end = 3> (last)
    width = Squeeze (width_1d)
    given_1d = Shape <start = 1, end = 2> (scores)
    entries_1d = Add (given_1d, slots_1d)
    entries = Squeeze (entries_1d)
    entries_less_1 = Sub (entries_1d, at_1)
    path_words = Mul (books, words)
    all_words = Mul (path_words, slots)
    last_shape = Shape (last)

    wide_given = Cast <to = 1> (scores)
    positive = Greater (wide_given, nothing_32)
    number = Where (positive, wide_given, nothing_32)
    is_zero = Equal (number, zero_32)
    clean = Where (is_zero, zero_32, number)
    no_scores = Expand (nothing_32, slot_shape)
    filled = Concat <axis = 1> (clean, no_scores)
    no_tokens = Expand (minus_one, slot_shape)
    tokens_64 = Cast <to = 7> (tokens)
    tokens_filled = Concat <axis = 1> (tokens_64, no_tokens)
    no_categories = Expand (zero, last_shape)
    categories_64 = Cast <to = 7> (categories)
    categories_filled = Concat <axis = 1> (categories_64, no_categories)
    last_64 = Cast <to = 7> (last)
    {_stable_order("order", "filled")}

    ranks = Range (zero, entries, one)
    sorted_scores = GatherElements <axis = 1> (filled, order)
    sorted_tokens = GatherElements <axis = 1> (tokens_filled, order)
    real = Greater (sorted_scores, nothing_32)
    in_window = Less (ranks, width_limit)
    not_negative = GreaterOrEqual (sorted_tokens, zero)
    not_too_large = Less (sorted_tokens, all_words)
    seen = And (real, in_window)
    in_range = And (not_negative, not_too_large)
    live = And (seen, in_range)
    token = Where (live, sorted_tokens, zero)
    parent = Div (token, path_words)
    word = Mod (token, path_words)

    order_shape = Shape (order)
    row_shape = Concat <axis = 0> (order_shape, width_1d)
    order_column = Unsqueeze (order, axis_2)
    order_rows = Expand (order_column, row_shape)
    category = GatherElements <axis = 1> (categories_filled, order_rows)
    parent_column = Unsqueeze (parent, axis_2)
    parent_rows = Expand (parent_column, row_shape)
    before = GatherElements <axis = 1> (last_64, parent_rows)
    same_id = Equal (category, before)
    known = GreaterOrEqual (category, zero)
    agreeing = And (same_id, known)
    counts = Cast <to = 7> (agreeing)
    count = ReduceSum <keepdims = 0> (counts, axis_2)
    overlaps = Min (category, before)
    overlap = ReduceSum <keepdims = 0> (overlaps, axis_2)
    is_id = Equal (width, one)
    agreement = Where (is_id, count, overlap)
    match_64 = Cast <to = 7> (match)
    match_before = GatherElements <axis = 1> (match_64, parent)
    matched = Add (match_before, agreement)

    need_64 = Cast <to = 7> (need)
    needed = Unsqueeze (need_64, axis_1)
    enough = GreaterOrEqual (matched, needed)
    agrees = And (live, enough)
    not_enough = Not (enough)
    disagrees = And (live, not_enough)
    agrees_number = Cast <to = 7> (agrees)
    num_agreeing = ReduceSum <keepdims = 1> (agrees_number, axis_1)
    too_few = Less (num_agreeing, least)
    match_part = Mul (matched, entries)
    floor_key = Sub (match_part, ranks)
    lowest_key = Constant <value_int = {-(1 << 62)}> ()
    live_key = Where (live, floor_key, lowest_key)
    floor_size = Min (least, entries)
    floor_size_1d = Unsqueeze (floor_size, at_0)
    top_keys, top_places = TopK <axis = 1> (live_key, floor_size_1d)
    edge = ReduceMin <keepdims = 1> (top_keys, axis_1)
    above_edge = GreaterOrEqual (live_key, edge)
    on_floor = And (above_edge, live)
    saved = And (on_floor, too_few)
    survives = Or (agrees, saved)
    soft = Greater (price, zero_32)
    final = If (soft) <
        then_branch: graph = soft_mode () => (float[?, ?] lowered_score) {{
            missing_64 = Sub (needed, matched)
            missing = Cast <to = 1> (missing_64)
            loss = Mul (missing, price)
            lowered = Sub (sorted_scores, loss)
            rounded = CastLike (lowered, scores)
            rounded_32 = Cast <to = 1> (rounded)
            beyond_half = Constant <value_float = 131072.0> ()
            beyond_half_like = CastLike (beyond_half, scores)
            beyond_half_back = Cast <to = 1> (beyond_half_like)
            is_half = IsInf (beyond_half_back)
            lowest_half = Constant <value_float = -65504.0> ()
            lowest_full = Constant <value_float = -3.4028234663852886e38> ()
            lowest = Where (is_half, lowest_half, lowest_full)
            bounded = Max (rounded_32, lowest)
            lowered_score = Where (disagrees, bounded, sorted_scores)
        }},
        else_branch: graph = hard_mode () => (float[?, ?] own_score) {{ own_score = Identity (sorted_scores) }}
    >
    keep = If (soft) <
        then_branch: graph = soft_keep () => (bool[?, ?] keep_any) {{ keep_any = Or (survives, live) }},
        else_branch: graph = hard_keep () => (bool[?, ?] keep_some) {{ keep_some = Identity (survives) }}
    >
    counted = If (soft) <
        then_branch: graph = soft_count () => (bool[?, ?] paying) {{ paying = Identity (disagrees) }},
        else_branch: graph = hard_count () => (bool[?, ?] dropped) {{
            drops = Not (survives)
            dropped = And (live, drops)
        }}
    >
    final_kept = Where (keep, final, nothing_32)
    {_stable_order("slotted", "final_kept")}

    counted_number = Cast <to = 7> (counted)
    disagreeing_64 = ReduceSum <keepdims = 0> (counted_number, axis_1)
    disagreeing = Cast <to = 6> (disagreeing_64)
    source = Slice (slotted, at_0, slots_1d, axis_1)
    source_column = Unsqueeze (source, axis_2)
    source_rows = Expand (source_column, last_shape)
    alive = GatherElements <axis = 1> (keep, source)
    alive_column = Unsqueeze (alive, axis_2)
    slot_scores = GatherElements <axis = 1> (final_kept, source)
    next_scores = CastLike (slot_scores, scores)
    slot_match = GatherElements <axis = 1> (matched, source)
    alive_match = Where (alive, slot_match, zero)
    next_match = Cast <to = 6> (alive_match)
    slot_parent = GatherElements <axis = 1> (parent, source)
    alive_parent = Where (alive, slot_parent, minus_one)
    parents = Cast <to = 6> (alive_parent)
    slot_word = GatherElements <axis = 1> (word, source)
    alive_word = Where (alive, slot_word, minus_one)
    next_tokens = Cast <to = 6> (alive_word)
    slot_category = GatherElements <axis = 1> (category, source_rows)
    nothing_known = Where (is_id, minus_one, zero)
    alive_category = Where (alive_column, slot_category, nothing_known)
    next_last = Cast <to = 6> (alive_category)

    codes_64 = Cast <to = 7> (codes)
    codes_shape = Shape (codes)
    slot_parent_column = Unsqueeze (slot_parent, axis_2)
    path_rows = Expand (slot_parent_column, codes_shape)
    paths = GatherElements <axis = 1> (codes_64, path_rows)
    slot_word_column = Unsqueeze (slot_word, axis_2)
    book = Div (slot_word_column, words)
    code = Mod (slot_word_column, words)
    book_numbers = Range (zero, books, one)
    is_book = Equal (book_numbers, book)
    extended = Where (is_book, code, paths)
    alive_codes = Where (alive_column, extended, minus_one)
    next_codes = Cast <to = 6> (alive_codes)
}}"""


def body() -> onnx.FunctionProto:
    """`ConsistencyPruning`."""
    return parse_body(_BODY)


FUNCTIONS: dict[str, Callable[[], onnx.FunctionProto]] = {"ConsistencyPruning": body}
