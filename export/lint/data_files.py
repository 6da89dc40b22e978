"""Files that hold the elements of one tensor, for warm-ups and first states."""

from math import prod
from pathlib import Path
from typing import Any

from tritonclient.grpc.model_config_pb2 import DataType  # pyright: ignore[reportAttributeAccessIssue]

_ITEM_BYTES = {
    "BOOL": 1,
    "INT8": 1,
    "UINT8": 1,
    "FP16": 2,
    "BF16": 2,
    "INT16": 2,
    "UINT16": 2,
    "FP32": 4,
    "FP64": 8,
} | {f"{kind}{bits}": bits // 8 for kind in ("INT", "UINT") for bits in (32, 64)}


def file_problem(path: Path, tensor: Any) -> str:
    """What is wrong with a file for a tensor with `data_type` and `dims`; empty where nothing is."""
    name = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        return f"there is no file '{name}' in the model's folder"
    needed, found = prod(tensor.dims) * _item_bytes(tensor.data_type), path.stat().st_size
    return f"'{name}' has {found} bytes of the {needed} that dims {list(tensor.dims)} need" if found < needed else ""


def _item_bytes(data_type: int) -> int:
    """0 for strings, whose length nothing tells."""
    return _ITEM_BYTES.get(DataType.Name(data_type).removeprefix("TYPE_"), 0)
