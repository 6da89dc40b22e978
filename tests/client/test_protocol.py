"""Our description of the protocol and NVIDIA's generated modules are of one wire, in one process."""

from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from tritonclient.grpc import model_config_pb2, service_pb2

from recserve_client import protocol
from recserve_client.described import Description
from recserve_client.protocol import messages

THEIRS: Any = service_pb2
CONFIGS: Any = model_config_pb2
VALUES = {"bool": True, "bytes": b"\0\xff", "int32": -7, "int64": -(2**63), "string": "\u00e9"}
NAMED = {
    "ModelInput": CONFIGS.ModelInput,
    "ModelOutput": CONFIGS.ModelOutput,
    "ModelParameter": CONFIGS.ModelParameter,
    "ModelConfig": CONFIGS.ModelConfig,
    "TensorMetadata": THEIRS.ModelMetadataResponse.TensorMetadata,
    "InferTensor": THEIRS.ModelInferRequest.InferInputTensor,
}


def filled(kind: Any) -> Message:
    """A message of the class with something in every field that our table has."""
    message = kind()
    ours = messages[next(name for name in messages if name == kind.DESCRIPTOR.name)].DESCRIPTOR
    for field in ours.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["some"].string_value = "thing"
        elif field.message_type is not None:
            part = filled(messages[field.message_type.name])
            if field.is_repeated:
                getattr(message, field.name).extend([part, part])
            else:
                getattr(message, field.name).CopyFrom(part)
        else:
            # NVIDIA has an enumeration where we have a number.
            value = 9 if field.name == "data_type" else VALUES[protocol_name(field)]
            if field.is_repeated:
                getattr(message, field.name).extend([value, value])
            else:
                setattr(message, field.name, value)
    return message


def protocol_name(field: Any) -> str:
    return next(name for name, number in protocol._SCALARS.items() if number == field.type)


@pytest.mark.parametrize("name", sorted(messages))
def test_a_message_of_ours_and_of_nvidias_are_the_same_bytes(name: str) -> None:
    theirs = NAMED.get(name) or getattr(THEIRS, name)
    written = filled(messages[name]).SerializeToString(deterministic=True)
    read = theirs.FromString(written)
    assert not list(unknown_fields(read))
    assert read.SerializeToString(deterministic=True) == written
    assert messages[name].FromString(read.SerializeToString()) == filled(messages[name])


def unknown_fields(message: Message) -> Any:
    fields = UnknownFieldSet(message)
    yield from (fields[place].field_number for place in range(len(fields)))
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else [value]:
            yield from unknown_fields(part)


def test_what_our_table_leaves_out_survives() -> None:
    config = CONFIGS.ModelConfig(name="any", platform="ensemble", max_batch_size=8)
    config.ensemble_scheduling.step.add(model_name="first", model_version=3)
    config.input.add(name="x", data_type=CONFIGS.TYPE_STRING, dims=[-1], allow_ragged_batch=True)
    config.parameters["task"].string_value = "click"
    ours = messages["ModelConfig"].FromString(config.SerializeToString())
    assert CONFIGS.ModelConfig.FromString(ours.SerializeToString()) == config
    described = Description.of(ours)
    assert described.inputs == (("x", "BYTES", (-1,)),)
    assert (described.task, described.has_batch_axis) == ("click", True)


def test_types_have_nvidias_numbers() -> None:
    theirs = [name.removeprefix("TYPE_").replace("STRING", "BYTES") for name in CONFIGS.DataType.keys()]
    assert list(protocol.DATATYPES) == theirs
