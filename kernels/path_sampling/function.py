"""Path selection in standard ONNX operators: the draws are steps of a Loop, so that one body serves any K.

Node `PathSampling` with inputs weights (int32 or int64 [B, F]) and words (int32 [B, P, K, 4], each a uint32 in its
bits), attribute anchors (int), outputs masks (int64 [B, P]) and flags (int32 [B]). A graph holds no randomness: the
words are an input, drawn before by `path_words`. All arithmetic is int64, exact, and below 2**54.

Two traps of ONNX Runtime 1.31 on the CPU shape the text: ReduceSum of int64 rounds above 2**53, as if summed in fp64
(so masks are added by CumSum, and ReduceSum only sees one bit at a time), and a reduction over a negative axis keeps
that axis when the tensor is empty.
"""

from collections.abc import Callable

import onnx

from kernels.bodies import parse_body
from kernels.path_sampling.reference import MAX_FIELDS, MAX_WEIGHT, OUT_OF_RANGE, REFUSED, TOO_FEW, field_bits

_BODY = f"""PathSampling <anchors> (weights, words) => (masks, flags) {{
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    start = Constant <value_ints = [0]> ()
    fields_axis = Constant <value_ints = [1]> ()
    last_axis = Constant <value_ints = [2]> ()
    last = Constant <value_ints = [-1]> ()
    two_32 = Constant <value_int = {1 << 32}> ()
    kept = Constant <value_int: int = @anchors> ()
    shape = Shape <start = 0, end = 2> (words)
    num_draws = Shape <start = 2, end = 3> (words)
    draws = Squeeze (num_draws)

    counted = Cast <to = 7> (weights)
    num_fields = Shape <start = 1, end = 2> (weights)
    all_bits = Constant <value_ints = {field_bits(MAX_FIELDS).tolist()}> ()
    bits = Slice (all_bits, start, num_fields)
    anchor_bits = BitwiseAnd (bits, kept)
    free = Equal (anchor_bits, zero)
    drawable = Where (free, counted, zero)
    most = Constant <value_int = {MAX_WEIGHT}> ()
    negative = Less (drawable, zero)
    too_large = Greater (drawable, most)
    wrong = Or (negative, too_large)
    wrong_number = Cast <to = 7> (wrong)
    wrong_fields = ReduceMax <keepdims = 1> (wrong_number, fields_axis)
    invalid = Cast <to = 9> (wrong_fields)

    positive = Greater (drawable, zero)
    positive_bits = Where (positive, bits, zero)
    positive_sums = CumSum (positive_bits, one)
    positive_mask = Gather <axis = 1> (positive_sums, last)
    all_positive = BitwiseOr (positive_mask, kept)
    positive_number = Cast <to = 7> (positive)
    num_positive = ReduceSum <keepdims = 1> (positive_number, fields_axis)

    usable = Where (invalid, zero, drawable)
    usable_rows = Unsqueeze (usable, fields_axis)
    tile_shape = Concat <axis = 0> (shape, num_fields)
    at_first = Expand (usable_rows, tile_shape)
    anchors_only = Expand (kept, shape)
    accepted_so_far = Expand (one, shape)
    go = Cast <to = 9> (one)

    remaining_after, drawn_masks, all_accepted = Loop <body = draw_once (
        int64 draw, bool going, int64[B, P, F] remaining, int64[B, P] chosen, int64[B, P] accepted
    ) => (bool still_going, int64[B, P, F] remaining_next, int64[B, P] chosen_next, int64[B, P] accepted_next) {{
        still_going = Identity (going)
        two = Constant <value_int = 2> ()
        sums = CumSum (remaining, two)
        total = Gather <axis = 2> (sums, last)
        signed_words = Gather <axis = 2> (words, draw)
        signed_long = Cast <to = 7> (signed_words)
        word_mask = Constant <value_int = {(1 << 32) - 1}> ()
        random = BitwiseAnd (signed_long, word_mask)
        product = Mul (random, total)
        low = BitwiseAnd (product, word_mask)
        high = Div (product, two_32)
        divisor = Max (total, one)
        refuse_below = Mod (two_32, divisor)
        passes = GreaterOrEqual (low, refuse_below)
        passes_number = Cast <to = 6> (passes)
        first_passing = ArgMax <axis = 2, keepdims = 1> (passes_number)
        value = GatherElements <axis = 2> (high, first_passing)
        any_number = ReduceMax <keepdims = 0> (passes_number, last_axis)
        any_passes = Cast <to = 7> (any_number)
        accepted_next = Mul (accepted, any_passes)
        behind = Greater (sums, value)
        sums_before = Sub (sums, remaining)
        not_before = LessOrEqual (sums_before, value)
        drawn = And (behind, not_before)
        remaining_next = Where (drawn, zero, remaining)
        drawn_bits = Where (drawn, bits, zero)
        drawn_mask = ReduceSum <keepdims = 0> (drawn_bits, last_axis)
        chosen_next = BitwiseOr (chosen, drawn_mask)
    }}> (draws, go, at_first, anchors_only, accepted_so_far)

    refused = Equal (all_accepted, zero)
    keeps_all = Or (invalid, refused)
    masks = Where (keeps_all, all_positive, drawn_masks)

    refused_number = Cast <to = 7> (refused)
    any_refused = ReduceMax <keepdims = 1> (refused_number, fields_axis)
    too_few = Less (num_positive, num_draws)
    too_few_number = Cast <to = 7> (too_few)
    out_of_range_flag = Constant <value_int = {OUT_OF_RANGE}> ()
    too_few_flag = Constant <value_int = {TOO_FEW}> ()
    refused_flag = Constant <value_int = {REFUSED}> ()
    flag_a = Mul (wrong_fields, out_of_range_flag)
    flag_b = Mul (too_few_number, too_few_flag)
    flag_c = Mul (any_refused, refused_flag)
    flag_ab = Add (flag_a, flag_b)
    flag_column = Add (flag_ab, flag_c)
    flag_rows = Squeeze (flag_column, fields_axis)
    flags = Cast <to = 6> (flag_rows)
}}"""


def body() -> onnx.FunctionProto:
    """`PathSampling`."""
    return parse_body(_BODY)


FUNCTIONS: dict[str, Callable[[], onnx.FunctionProto]] = {"PathSampling": body}
