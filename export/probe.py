"""What a graph does with requests at the edges of what a client may send, in a process that it may take with it.

ONNX Runtime can divide by zero or abort where an axis has no element (GRU, causal attention, Reshape with -1), and
counts a negative id from a table's end where the eager module raises.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from export import client_ids
from export.verify import TOLERANCE
from serving import flat_texts, golden
from training.servable import Packed, Signature

_ENDS = "ONNX Runtime ends its process"
_TIMEOUT_S = 300
_LONGEST_REASON = 200


class Case(NamedTuple):
    """A request, or a batch of them, at an edge."""

    what: str
    """Such as "axis 'length' of size 0"."""
    tensors: Packed
    expected: dict[str, np.ndarray] | None
    """The eager answer; None where the eager module raises, so that the graph must not answer."""
    remedy: str


def check_edges(signature: Signature, path: Path, cases: Sequence[Case]) -> None:
    """Raises ValueError, naming the case and the remedy, where the graph at `path` does otherwise than the module."""
    if not cases:
        return
    with tempfile.TemporaryDirectory(prefix="recserve-probe-") as scratch:
        folder = Path(scratch)
        arrays = {
            f"{number:04d}/{name}": np.ascontiguousarray(array)
            for number, case in enumerate(cases)
            for name, array in _feeds(signature, case).items()
        }
        save_file(flat_texts.flattened(arrays), folder / "feeds")
        ends = _run(path, folder, len(cases))
        for number, case in enumerate(cases):
            expected = None if case.expected is None else client_ids.answered(signature.outputs, case.expected)
            if fault := _fault(expected, folder / f"{number:04d}.safetensors", ends.get(number)):
                raise ValueError(f"model '{signature.name}', {case.what}: {fault}; {case.remedy}")


def _feeds(signature: Signature, case: Case) -> dict[str, np.ndarray]:
    """What the graph is given."""
    arrays = {spec.name: tensor.numpy() for spec, tensor in zip(signature.inputs, case.tensors, strict=True)}
    return client_ids.sent(signature.inputs, arrays)


def _run(path: Path, folder: Path, number_of_cases: int) -> dict[int, str]:
    """Runs the cases up to the first that ends the process; case -> why it has no answer."""
    ends: dict[int, str] = {}
    ended = _child(path, folder)
    for number in range(number_of_cases):
        if not _is_done(folder, number, ends):
            ends[number] = f"{_ENDS} ({ended})"
            break
    return ends


def _is_done(folder: Path, number: int, ends: dict[int, str]) -> bool:
    said = folder / f"{number:04d}.txt"
    if said.exists():
        reason = " ".join(said.read_text().split())
        ends[number] = f"ONNX Runtime fails: {reason[:_LONGEST_REASON]}"
    return said.exists() or (folder / f"{number:04d}.safetensors").exists()


def _child(path: Path, folder: Path) -> str:
    """Runs the cases; returns how the process ended."""
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-P", "-m", "export.run_alone", str(path), str(folder / "feeds"), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S} s"
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[-_LONGEST_REASON:]}"


def _fault(expected: dict[str, np.ndarray] | None, answer: Path, end: str | None) -> str | None:
    """What is wrong; None where graph and module agree."""
    if expected is None:
        # What raises and what fails agree; what ends the process must not be reached by any request.
        if end is None:
            return "forward raises, the graph answers"
        return f"forward raises, and {end}" if _ENDS in end else None
    if end is not None:
        return f"forward answers, but {end}"
    actual = {key.partition("/")[2]: array for key, array in flat_texts.restored(load_file(answer)).items()}
    gap = golden.compare(expected, actual, TOLERANCE)
    if gap.ok:
        return None
    if not gap.index:
        wanted, found = expected[gap.output], actual[gap.output]
        shapes = f"{wanted.dtype} {list(wanted.shape)}, the graph's {found.dtype} {list(found.shape)}"
        return f"output '{gap.output}' is {shapes}"
    values = f"{expected[gap.output][gap.index]!r}, the graph {actual[gap.output][gap.index]!r}"
    return f"forward answers output '{gap.output}'{list(gap.index)} with {values}"
