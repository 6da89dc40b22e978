"""What a server says of its models."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from recserve_client.protocol import DATATYPES

_NO_ID, _NEUTRAL = "no_id.", "neutral."


class TensorInfo(NamedTuple):
    """One input or output as the server describes it."""

    name: str
    datatype: str
    """The protocol's name, for example INT64."""
    shape: tuple[int, ...]
    """With the batch axis in a `ModelMetadata`, without it in a `Description`; -1 is any length."""


class ModelMetadata(NamedTuple):
    """Name, versions and tensors of a served model."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @classmethod
    def of(cls, reply: Any) -> Self:
        """From the protocol's answer."""
        inputs, outputs = (
            tuple(TensorInfo(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)
            for tensors in (reply.inputs, reply.outputs)
        )
        return cls(reply.name, tuple(reply.versions), inputs, outputs)


class Description(NamedTuple):
    """What a request of a model carries, and what it was made of, as its configuration says."""

    name: str
    has_batch_axis: bool
    """Whether tensors begin with an axis of requests, which the shapes here leave out."""
    inputs: tuple[TensorInfo, ...]
    optional: tuple[str, ...]
    """Names of the inputs that a request may leave out."""
    outputs: tuple[TensorInfo, ...]
    parameters: Mapping[str, str]

    @classmethod
    def of(cls, config: Any) -> Self:
        """From the protocol's configuration."""
        inputs, outputs = (
            tuple(TensorInfo(tensor.name, DATATYPES[tensor.data_type], tuple(tensor.dims)) for tensor in tensors)
            for tensors in (config.input, config.output)
        )
        parameters = {name: value.string_value for name, value in config.parameters.items()}
        optional = tuple(tensor.name for tensor in config.input if tensor.optional)
        return cls(config.name, config.max_batch_size > 0, inputs, optional, outputs, parameters)

    @property
    def task(self) -> str | None:
        """The kind of question that it answers; None where it does not say."""
        return self.parameters.get("task")

    @property
    def dataset(self) -> str | None:
        """The data set whose users and items it knows; None where it does not say."""
        return self.parameters.get("dataset")

    @property
    def part_of(self) -> str | None:
        """The model of the same release that clients ask; None where that is this one."""
        return self.parameters.get("part_of")

    def neutral(self, name: str) -> str | None:
        """What stands for an input that a caller leaves out, an empty text for no element; None for one that must be
        said."""
        return self.parameters.get(_NEUTRAL + name)

    def input(self, name: str) -> TensorInfo | None:
        """By name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def output(self, name: str) -> TensorInfo | None:
        """By name."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)

    def no_id(self, output: str) -> int | str:
        """What an output of ids says where there is none."""
        tensor = self.output(output)
        if tensor is not None and tensor.datatype == "BYTES":
            return ""
        return int(self.parameters.get(_NO_ID + output, "0"))
