"""Element types and axes of a graph, in the words of a configuration."""

import onnx
from onnx import TensorProto

DATA_TYPES: dict[int, str] = {
    TensorProto.BOOL: "TYPE_BOOL",
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.UINT16: "TYPE_UINT16",
    TensorProto.UINT32: "TYPE_UINT32",
    TensorProto.UINT64: "TYPE_UINT64",
    TensorProto.INT8: "TYPE_INT8",
    TensorProto.INT16: "TYPE_INT16",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.FLOAT16: "TYPE_FP16",
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.DOUBLE: "TYPE_FP64",
    TensorProto.STRING: "TYPE_STRING",
}
"""Those that NVIDIA's onnxruntime backend takes at a graph's edge: bfloat16 is none of them."""


def is_tensor(value: onnx.ValueInfoProto) -> bool:
    """Whether an input or output is a plain tensor: not a sequence, a map, an optional or a sparse one."""
    return value.type.WhichOneof("value") == "tensor_type"


def axes(tensor: onnx.TypeProto.Tensor) -> list[int]:
    """The graph's axes, -1 for those that are not fixed."""
    return [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim]
