"""Arrays as tritonserver's protocol carries them."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from recserve_client import texts
from recserve_client.errors import InvalidRequest, ServerFailure
from recserve_client.protocol import messages

_LENGTH = struct.Struct("<I")
"""Number of bytes before each element of the type BYTES."""
DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
"""By the protocol's names of types."""
_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


def infer_request(model: str, version: str, inputs: Mapping[str, Any], request_id: str = "") -> Any:
    """The message of one inference; `inputs` are arrays, or what numpy makes an array of.

    Raises:
        InvalidRequest: an input is no array of a type that the protocol knows; names it.
    """
    if not isinstance(inputs, Mapping):
        raise InvalidRequest(f"{model}: the inputs are a {type(inputs).__name__}; send a mapping from name to array")
    if not isinstance(model, str) or not isinstance(version, str):
        raise InvalidRequest(f"model {model!r}, version {version!r}: both are strings")
    try:
        request = messages["ModelInferRequest"](model_name=model, model_version=version, id=request_id)
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
        ServerFailure: an output's content is not what its type and shape say, or of a type that numpy does not have.
    """
    if len(reply.outputs) != len(reply.raw_output_contents):
        raise ServerFailure(
            f"{reply.model_name}: {len(reply.outputs)} outputs with {len(reply.raw_output_contents)} contents; this "
            "client reads raw contents alone"
        )
    pairs = zip(reply.outputs, reply.raw_output_contents, strict=True)
    return {output.name: _readable(f"{reply.model_name}: output '{output.name}'", output, raw) for output, raw in pairs}


def _readable(where: str, output: Any, raw: bytes) -> np.ndarray:
    dtype, shape = DTYPES.get(output.datatype), tuple(output.shape)
    if dtype is None:
        raise ServerFailure(f"{where} has the type {output.datatype}, which numpy does not have; export it as FP32")
    try:
        array = texts.decoded(_elements(raw)) if dtype.hasobject else np.frombuffer(raw, dtype)
        array = array.reshape(shape)
    except UnicodeDecodeError as error:
        raise ServerFailure(f"{where} is no UTF-8 text: {error}") from error
    except (ValueError, struct.error) as error:
        raise ServerFailure(f"{where} is not of shape {list(shape)}: {error}") from error
    array.flags.writeable = False
    return array


def _elements(raw: bytes) -> np.ndarray:
    """The elements of the type BYTES, as `bytes`."""
    found, start = [], 0
    while start < len(raw):
        (length,) = _LENGTH.unpack_from(raw, start)
        start += _LENGTH.size
        found.append(raw[start : start + length])
        start += length
    array = np.empty(len(found), object)
    array[:] = found
    return array


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
    datatype = _DATATYPES.get(array.dtype)
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
