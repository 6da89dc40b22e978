"""Golden requests: seeded requests with the answers that a served model must give.

A golden is stored as a client would send it: a leading batch axis of 1, ragged inputs as [1, n], and none of the
inputs that the server fills in. The file is one safetensors file with the keys "0007/inputs/<name>",
"0007/outputs/<name>", "0007/reference64/<name>", "0007/served64/<name>" and "0007/unrounded/<name>", and text as in
`serving.flat_texts`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from serving import flat_texts
from serving.ties import only_ties_differ

HALF_TOLERANCE = 1e-2
"""As a tolerance of float32 outputs, for float16: ten of its roundings, as a runtime may compute in float32 and round
once where torch rounds after each operator."""

ORDERS = "scores"
"""Name of the float output by which a list beside it, of the same shape, is ordered."""

PARTS = ("inputs", "outputs", "reference64", "served64", "unrounded")


@dataclass(frozen=True)
class Golden:
    """One request with its expected answer."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    """What the eager module answers, in the served dtypes."""
    reference64: dict[str, np.ndarray] = field(default_factory=dict)
    """What the training form answers in fp64; may be empty."""
    served64: dict[str, np.ndarray] = field(default_factory=dict)
    """What the served form answers in fp64; may be empty."""
    unrounded: dict[str, np.ndarray] = field(default_factory=dict)
    """Float outputs of the same model before its tables were rounded; empty where they were not."""


class Gap(NamedTuple):
    """The worst element of a comparison; infinite where the outputs cannot be compared at all."""

    output: str
    index: tuple[int, ...]  # pyright: ignore[reportIncompatibleMethodOverride]
    absolute: float
    relative: float
    """|actual - expected| / max(1, |expected|)."""
    ok: bool


def write(path: Path, goldens: Sequence[Golden]) -> None:
    """Writes goldens to one safetensors file."""
    tensors = {
        f"{number:04d}/{part}/{name}": np.ascontiguousarray(array)
        for number, golden in enumerate(goldens)
        for part in PARTS
        for name, array in getattr(golden, part).items()
    }
    save_file(flat_texts.flattened(tensors), path)


def read(path: Path) -> list[Golden]:
    """Reads the goldens of `write` in their order.

    Raises ValueError for a file that cannot be read, and for a key that is not a golden's.
    """
    numbered: dict[str, dict[str, dict[str, np.ndarray]]] = defaultdict(lambda: {part: {} for part in PARTS})
    try:
        tensors = flat_texts.restored(load_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no file of goldens: {error}; export the model again") from error
    for key, array in tensors.items():
        number, _, rest = key.partition("/")
        part, _, name = rest.partition("/")
        if part not in PARTS or not name:
            raise ValueError(f"{path}: '{key}' is not the key of a golden; write the file with serving.golden.write")
        numbered[number][part][name] = array
    return [Golden(**numbered[number]) for number in sorted(numbered)]


def compare(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], tolerance: float) -> Gap:
    """The worst element over all expected outputs.

    An element of a float output is right when |actual - expected| <= tolerance * max(1, |expected|), where float16 has
    a tolerance of its own, HALF_TOLERANCE; NaN is right where NaN is expected, infinity where the same infinity is.
    Integers and text must be equal, but in a list beside an output named "scores" for the order of equal scores (see
    serving.ties), which a tolerance of 0 does not allow. A missing output, or one of another shape or dtype, is wrong.
    """
    if not expected:
        raise ValueError("a golden without outputs proves nothing; record at least one output")
    gaps = [_gap(name, array, actual.get(name), tolerance) for name, array in expected.items()]
    if tolerance > 0:
        gaps = [gap._replace(relative=0.0, ok=True) if _is_tie(gap, expected, actual, gaps) else gap for gap in gaps]
    return max(gaps, key=lambda gap: (not gap.ok, gap.relative))


def tolerance_of(dtype: np.dtype, tolerance: float) -> float:
    """What is allowed of one dtype, where `tolerance` is that of float32; 0 is exact for all."""
    if not np.issubdtype(dtype, np.floating):
        return 0.0
    return max(tolerance, HALF_TOLERANCE) if dtype == np.float16 and tolerance > 0 else tolerance


def _is_tie(
    gap: Gap, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], gaps: Sequence[Gap]
) -> bool:
    """Whether a wrong list of integers or text is right but for ties of the right scores beside it."""
    wanted, scores = expected[gap.output], expected.get(ORDERS)
    if gap.ok or not gap.index or not (wanted.dtype == object or np.issubdtype(wanted.dtype, np.integer)):
        return False
    if scores is None or scores.shape != wanted.shape or not np.issubdtype(scores.dtype, np.floating):
        return False
    right = any(other.ok for other in gaps if other.output == ORDERS)
    return right and only_ties_differ(wanted, actual[gap.output], scores, actual[ORDERS])


def _gap(name: str, expected: np.ndarray, actual: np.ndarray | None, tolerance: float) -> Gap:
    if actual is None or actual.shape != expected.shape or actual.dtype != expected.dtype:
        return Gap(name, (), float("inf"), float("inf"), False)
    if expected.size == 0:
        return Gap(name, (), 0.0, 0.0, True)
    absolute = _differences(expected, actual)
    relative = absolute / np.maximum(1.0, _sizes(expected))
    limit = tolerance_of(expected.dtype, tolerance)
    flat = int(np.argmax(relative))
    index = tuple(int(axis) for axis in np.unravel_index(flat, expected.shape))
    return Gap(name, index, float(absolute.flat[flat]), float(relative.flat[flat]), bool(relative.flat[flat] <= limit))


def _sizes(expected: np.ndarray) -> np.ndarray:
    """float64: magnitudes, 1 for what has none."""
    if expected.dtype == object:
        return np.ones(expected.shape)
    return np.where(np.isfinite(expected), np.abs(expected.astype(np.float64)), 1.0)


def _differences(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """float64, never NaN: 0 where equal (also NaN and NaN), infinite where only one is a number, 1 of unequal text."""
    equal = actual == expected
    if expected.dtype == object:
        return np.where(equal, 0.0, 1.0)
    if np.issubdtype(expected.dtype, np.floating):
        equal |= np.isnan(actual) & np.isnan(expected)
        floor = 0.0
    else:
        # Two unequal int64 may be equal once they are float64.
        floor = 1.0
    with np.errstate(invalid="ignore"):
        difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return np.where(equal, 0.0, np.where(np.isnan(difference), np.inf, np.maximum(difference, floor)))
