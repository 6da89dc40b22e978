"""What a served model was made of, as its configuration says to every client."""

from typing import NamedTuple, Self

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]


class Identity(NamedTuple):
    """Parameters of `config.pbtxt`; None where the model does not say."""

    system: str | None = None
    task: str | None = None
    dataset: str | None = None
    schema_digest: str | None = None
    """Another one where an id of the data set may mean something else."""
    part_of: str | None = None
    """The model of the same release that clients ask; None for that model itself, and in releases from before."""

    @classmethod
    def of(cls, config: ModelConfig) -> Self:
        """What a configuration says."""
        said = config.parameters
        return cls(*(said[name].string_value if name in said else None for name in cls._fields))

    def add_to(self, config: ModelConfig) -> None:
        """Says it in a configuration."""
        for name, value in self._asdict().items():
            if value is not None:
                config.parameters[name].string_value = value

    def replace_in(self, config: ModelConfig) -> None:
        """Says it in a configuration in place of what that says."""
        for name in self._fields:
            config.parameters.pop(name, None)
        self.add_to(config)

    def changed_by(self, other: "Identity") -> list[str]:
        """Names of the fields that this model says, and the other one does not say or says otherwise."""
        return [
            name.replace("_", " ")
            for name, own, offered in zip(self._fields, self, other, strict=True)
            if own is not None and own != offered
        ]

    def __str__(self) -> str:
        known = {
            name.replace("_", " "): value
            for name, value in self._asdict().items()
            if value and name not in ("task", "part_of")
        }
        return ", ".join(f"{name} {value}" for name, value in known.items()) or "no data set"
