"""The messages of tritonserver's gRPC protocol that a client needs, described here in a table.

They are made from descriptors in a pool of their own, so that they live beside the generated modules of any other
client library in one process. Fields of a message that the table leaves out are kept when it is read and written again.
"""

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "inference"
_SERVICE = "inference.GRPCInferenceService"
_TABLE = """
ServerReadyRequest
ServerReadyResponse     ready:bool=1
ModelReadyRequest       name:string=1 version:string=2
ModelReadyResponse      ready:bool=1

ModelMetadataRequest    name:string=1 version:string=2
ModelMetadataResponse   name:string=1 versions:string*=2 platform:string=3 inputs:TensorMetadata*=4 \
outputs:TensorMetadata*=5
TensorMetadata          name:string=1 datatype:string=2 shape:int64*=3

ModelConfigRequest      name:string=1 version:string=2
ModelConfigResponse     config:ModelConfig=1
ModelConfig             name:string=1 max_batch_size:int32=4 input:ModelInput*=5 output:ModelOutput*=6 \
parameters:ModelParameter%=14
ModelInput              name:string=1 data_type:int32=2 dims:int64*=4 optional:bool=8
ModelOutput             name:string=1 data_type:int32=2 dims:int64*=3
ModelParameter          string_value:string=1

ModelInferRequest       model_name:string=1 model_version:string=2 id:string=3 inputs:InferTensor*=5 \
raw_input_contents:bytes*=7
ModelInferResponse      model_name:string=1 model_version:string=2 id:string=3 outputs:InferTensor*=5 \
raw_output_contents:bytes*=6
InferTensor             name:string=1 datatype:string=2 shape:int64*=3
"""
"""A message a line; a field is name:type=number, with * behind the type where there are several, % where they have
names (text)."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}


class Method(NamedTuple):
    """One call of the service."""

    name: str
    reply: Any
    """The class of its answer."""

    @property
    def path(self) -> str:
        """As gRPC calls it."""
        return f"/{_SERVICE}/{self.name}"


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="recserve_client.proto", package=_PACKAGE, syntax="proto3")
    for line in filter(None, _TABLE.splitlines()):
        name, *fields = line.split()
        message = file.message_type.add(name=name)
        for field in fields:
            _add(message, *_parts(field))
    return file


def _parts(field: str) -> tuple[str, str, int]:
    name, rest = field.split(":")
    kind, number = rest.split("=")
    return name, kind, int(number)


def _add(message: descriptor_pb2.DescriptorProto, name: str, kind: str, number: int) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.endswith(("*", "%")):
        field.label = _Field.LABEL_REPEATED
    if kind.endswith("%"):
        # A map is a repeated message of a key and a value.
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add(entry, "key", "string", 1)
        _add(entry, "value", kind[:-1], 2)
        kind = f"{message.name}.{entry.name}"
    kind = kind.rstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


def _made() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_described().SerializeToString())
    names = [line.split()[0] for line in filter(None, _TABLE.splitlines())]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names}


messages: dict[str, Any] = _made()
"""Message classes by name."""


def method(name: str) -> Method:
    """The call of that name, whose answer is in the table."""
    return Method(name, messages[f"{name}Response"])


SERVER_READY, MODEL_READY = method("ServerReady"), method("ModelReady")
MODEL_METADATA, MODEL_CONFIG, MODEL_INFER = method("ModelMetadata"), method("ModelConfig"), method("ModelInfer")
DATATYPES = (
    "INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32",
    "FP64", "BYTES", "BF16",
)  # fmt: skip
"""Names of types, in a request, by their numbers in a configuration."""
