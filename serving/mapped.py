"""Arrays of a safetensors file, read where they lie in it: whatever its size, all processes of a machine share it."""

import json
import mmap
from pathlib import Path

import numpy as np

_DTYPES = {"BOOL": np.bool_, "F16": np.float16, "F32": np.float32, "F64": np.float64}
_DTYPES |= {"U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}


def mapped(path: Path, what: str) -> dict[str, np.ndarray]:
    """By name, read-only; `what` the file holds, for the error. Raises ValueError for a damaged file."""
    try:
        with path.open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = 8 + int.from_bytes(memory[:8], "little")
        header = json.loads(memory[8:start])
        header.pop("__metadata__", None)
        return {name: _array(memory, start, entry) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no {what} ({error}): export the model again") from error


def _array(memory: mmap.mmap, start: int, entry: dict) -> np.ndarray:
    shape = entry["shape"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    first, end = entry["data_offsets"]
    if end - first != dtype.itemsize * int(np.prod(shape)):
        raise ValueError(f"{end - first} bytes are not {dtype} {shape}")
    return np.frombuffer(memory, dtype, int(np.prod(shape)), start + first).reshape(shape)
