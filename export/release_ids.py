"""Which raw ids a published release knows: out of its files beside a model, out of its graphs, or 1 to N."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from export.id_nodes import DOMAIN
from serving import releases
from serving.histories.reading import SCHEMA_FILE
from serving.ids import IdMap
from serving.watch.pseudonyms import USER_ID

OF_ITEMS = ("candidates", "history", "excluded", "questions", "item_id")
"""Inputs that hold ids of items, as our tasks name them."""


class Known(NamedTuple):
    """What one input may say."""

    ids: np.ndarray
    """Raw ids, int64 or text [N]; the dense id of ids[k] is k + 1."""

    def dense(self, raw: np.ndarray) -> np.ndarray:
        """int64 of the same shape, 0 for what is unknown. Raises ValueError for ids of another kind."""
        return IdMap(ids=self.ids).dense(raw)

    @property
    def kind(self) -> str:
        """int64 or string."""
        return IdMap(ids=self.ids).kind


def known(repository: Path, name: str, version: int, tensor: str) -> Known | None:
    """What the release knows of an input's ids; None where it does not say."""
    for folder in (repository / model / str(version) for model in releases.models_of(repository, name, version)):
        if (folder / f"ids.{tensor}.safetensors").is_file():
            return Known(IdMap.load(folder, tensor).ids)
        for path in folder.glob("*.onnx"):
            if (keys := next(_keys(path, tensor), None)) is not None:
                return Known(keys)
    role = "user" if tensor == USER_ID else "item" if tensor in OF_ITEMS else None
    number = _number(repository / name / str(version) / SCHEMA_FILE, role)
    return Known(np.arange(1, number + 1)) if number else None


def _keys(path: Path, tensor: str) -> Iterator[np.ndarray]:
    """Raw ids that a graph maps an input by."""
    for node in onnx.load(path, load_external_data=False).graph.node:
        if (node.domain, node.op_type) == (DOMAIN, "LabelEncoder") and tensor in node.input:
            keys = next(one for one in node.attribute if one.name == "keys_tensor").t
            if keys.data_type == onnx.TensorProto.STRING:
                yield np.array([one.decode() for one in keys.string_data], object)
            else:
                yield numpy_helper.to_array(keys)


def _number(path: Path, role: str | None) -> int:
    """Ids 1 to N of a data set whose raw ids are those; 0 where they are others."""
    if role is None or not path.is_file():
        return 0
    fields = json.loads(path.read_bytes())["fields"]
    key = next((one for one in fields if one["role"] == role and "key" in one["uses"]), None)
    return 0 if key is None or key.get("ids") is not None else int(key["cardinality"]) - 1
