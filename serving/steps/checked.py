"""Requests that keep to a step's configuration are answered together, the others refused one by one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from google.protobuf import json_format

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.configs import read_config
from serving.ids import IdMaps
from serving.steps.live_users import USER_ID, dense_users
from serving.steps.step import Refusal, Tensors

RAW_USERS = "raw user_id"
"""No tensor is called so."""


class CheckedModel:
    """The inputs and bounds that a model's configuration declares, and the maps of raw ids in its version."""

    def __init__(self, folder: Path) -> None:
        """Of a version folder. Raises ValueError for a configuration or a map that cannot be read."""
        config = json_format.MessageToDict(read_config(folder.parent, "cpu"), preserving_proto_field_name=True)
        self.spec = ModelSpec.parse(config)
        self.ids = IdMaps.load(folder, self.spec.mapped_ids)

    def answer(
        self, requests: Sequence[Tensors], compute: Callable[[Sequence[Tensors]], Sequence[Tensors]]
    ) -> list[Tensors | Refusal]:
        """One answer per request, in order; `compute` sees those alone that are right, with dense ids for raw ones, and
        what clients call their users under `RAW_USERS`."""
        refused: dict[int, Refusal] = {}
        for place, request in enumerate(requests):
            try:
                packing.check(self.spec, request)
            except ValueError as error:
                refused[place] = Refusal(str(error), "INVALID_ARG")
        right = [self._dense(request) for place, request in enumerate(requests) if place not in refused]
        answers = iter(compute(right) if right else ())
        return [refused[place] if place in refused else next(answers) for place in range(len(requests))]

    def _dense(self, request: Tensors) -> Tensors:
        if USER_ID not in request:
            return self.ids.dense(request)
        return {**dense_users(self.ids, request), RAW_USERS: request[USER_ID]}
