"""Arrays as tritonserver's protocol carries them."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import InferResult
from tritonclient.utils import np_to_triton_dtype

from serving import texts
from serving.calls import messages
from serving.errors import InvalidRequest, ServerFailure

_LENGTH = struct.Struct("<I")
"""Number of bytes before each element of the type BYTES."""


def infer_request(model: str, version: str, inputs: Mapping[str, Any]) -> Any:
    """The message of one inference; `inputs` are arrays, or what numpy makes an array of.

    Raises:
        InvalidRequest: an input is no array of a type that the protocol knows; names it.
    """
    if not isinstance(inputs, Mapping):
        raise InvalidRequest(f"{model}: the inputs are a {type(inputs).__name__}; send a mapping from name to array")
    if not isinstance(model, str) or not isinstance(version, str):
        raise InvalidRequest(f"model {model!r}, version {version!r}: both are strings")
    try:
        request = messages.ModelInferRequest(model_name=model, model_version=version)
        for name, value in inputs.items():
            array, datatype = _checked(model, name, value)
            request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            request.raw_input_contents.append(_content(array, datatype))
    except TypeError as error:
        raise InvalidRequest(f"{model}: {error}; names of inputs are strings") from error
    return request


def outputs(reply: Any) -> dict[str, np.ndarray]:
    """All outputs of an inference by name; read-only. Those of the type BYTES are arrays of `str`.

    Raises:
        ServerFailure: an output of the type BYTES is no UTF-8 text.
    """
    result: Any = InferResult(reply)
    return {output.name: _readable(reply.model_name, output, result.as_numpy(output.name)) for output in reply.outputs}


def _readable(model: str, output: Any, array: np.ndarray) -> np.ndarray:
    if output.datatype != "BYTES":
        return array
    try:
        decoded = texts.decoded(array).reshape(output.shape)
    except UnicodeDecodeError as error:
        raise ServerFailure(f"{model}: output '{output.name}' is no UTF-8 text: {error}") from error
    decoded.flags.writeable = False
    return decoded


def _checked(model: str, name: str, value: Any) -> tuple[np.ndarray, str]:
    """The array and the protocol's name of its type."""
    where = f"{model}: input '{name}'"
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidRequest(f"{where} is a masked array; send its filled() form")
    try:
        array = np.asarray(value)
        if array.dtype.kind in "US" and not isinstance(value, np.ndarray | np.generic):
            # numpy would turn the numbers among strings into strings, and cut off NULs.
            array = np.asarray(value, object)
    except Exception as error:  # whatever the value's own conversion raises
        raise InvalidRequest(f"{where} is no array ({error}); send a numpy array") from error
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype == object and not all(isinstance(one, str | bytes) for one in array.flat):
        raise InvalidRequest(
            f"{where} mixes types, is ragged, or holds numbers beyond 64 bits; send a numpy array of one type"
        )
    if array.dtype == object:
        _refuse_text(where, array)
    if array.ndim > 1 and array.shape[0] == 0 and 0 in array.shape[1:]:
        # tritonserver 2.51 never answers it.
        raise InvalidRequest(
            f"{where} has shape {list(array.shape)}: no request and nothing in it; send one row or more"
        )
    datatype = np_to_triton_dtype(array.dtype)
    if datatype is None:
        raise InvalidRequest(f"{where} has dtype {array.dtype}, which tritonserver does not know; cast it")
    return array, datatype


def _refuse_text(where: str, array: np.ndarray) -> None:
    for place, one in enumerate(array.flat):
        if isinstance(one, bytes):
            continue
        if "\0" in one:
            # NVIDIA's onnxruntime backend reads it up to there: the id of somebody else.
            raise InvalidRequest(f"{where}: element {place} holds a NUL character, which no id has; send it without")
        if any("\ud800" <= character <= "\udfff" for character in one):
            raise InvalidRequest(f"{where}: element {place} holds half a surrogate pair, which is no text; mend it")


def _content(array: np.ndarray, datatype: str) -> bytes:
    if datatype != "BYTES":
        return array.tobytes()
    encoded = [one if isinstance(one, bytes) else one.encode() for one in array.flat]
    return b"".join(part for one in encoded for part in (_LENGTH.pack(len(one)), one))
