"""Requests as a client sends them, and answers and errors to the letter."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

DEADLINE_S = 60.0
"""Far more than anything here takes; only a hang reaches it."""
Request = Mapping[str, np.ndarray]


class Reply(NamedTuple):
    """What came back: outputs to the bit, or a status and its text."""

    outputs: Mapping[str, tuple[str, tuple[int, ...], bytes]]
    status: str = ""
    text: str = ""

    def array(self, name: str) -> np.ndarray:
        """An output of numbers."""
        dtype, shape, content = self.outputs[name]
        return np.frombuffer(content, dtype).reshape(shape)


def ask(client: triton.InferenceServerClient, model: str, request: Request, outputs: Sequence[str] = ()) -> Reply:
    """One request; all outputs where none are named."""
    inputs = []
    for name, array in request.items():
        one = triton.InferInput(name, array.shape, str(np_to_triton_dtype(array.dtype)))
        one.set_data_from_numpy(array)
        inputs.append(one)
    wanted = [triton.InferRequestedOutput(name) for name in outputs] or None
    try:
        result = client.infer(model, inputs, outputs=wanted)
    except InferenceServerException as error:
        return Reply({}, str(error.status()), error.message() or "")
    assert result is not None
    said = result.get_response()
    return Reply(
        {
            one.name: (_dtype(one.datatype), tuple(one.shape), raw)
            for one, raw in zip(said.outputs, said.raw_output_contents, strict=True)
        }
    )


def _dtype(datatype: str) -> str:
    """numpy's name."""
    if datatype in ("BOOL", "BYTES"):
        return {"BOOL": "bool", "BYTES": "object"}[datatype]
    return re.sub("^fp", "float", datatype.lower())
