"""What a served model says of itself, on a server or in a repository, and the data set that its ids belong to."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from recserve_client.errors import ModelUnavailable
from serving.admin import Admin
from serving.configs import read_config
from serving.identity import Identity
from serving.readiness import models
from training import datasets
from training.interactions import Interactions
from training.registry import SYSTEMS, system
from training.retrieve_then_rank import NAME as RETRIEVE_THEN_RANK
from training.schema import digest
from training.system import System
from training.tasks.tracing_kept_served import OF_USER


class Served(NamedTuple):
    """A model as the server has it."""

    model: str
    identity: Identity
    config: ModelConfig

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what a request carries."""
        return tuple(tensor.name for tensor in self.config.input)

    def neutral(self, tensor: str) -> str | None:
        """What stands for an input that a client leaves out; None where it must be said."""
        parameters, name = self.config.parameters, f"neutral.{tensor}"
        return parameters[name].string_value if name in parameters else None

    def most(self, tensor: str, otherwise: int) -> int:
        """Elements that a ragged input may carry."""
        found = self.bound("max_elements", tensor)
        return otherwise if found is None else int(found)

    def bound(self, side: str, tensor: str) -> float | None:
        """A bound of all elements of an input, or of their number; None where it has none, or one for each place."""
        parameters = self.config.parameters
        name = f"{side}.{tensor}"
        text = parameters[name].string_value if name in parameters else ""
        return None if not text or "," in text else float(text)


def published(repository: Path, model: str) -> Served:
    """The model in a repository. Raises ValueError naming those that there are."""
    there = [path.name for path in models(repository, "cpu")]
    if model not in there:
        raise ValueError(f"{repository} has no model '{model}'; it has {', '.join(there)}")
    config = read_config(repository / model, "cpu")
    return Served(model, Identity.of(config), config)


def find(client: Admin, model: str | None) -> Served:
    """The model of that name, or else the only one among those called as systems are.

    Raises ValueError where that is none or more than one, and ModelUnavailable for a name that is not served.
    """
    if model is not None:
        config = client.config(model)
        return Served(model, Identity.of(config), config)
    there = list(_there(client, asked()))
    if len(there) != 1:
        listed = ", ".join(one.model for one in there) or "no model that is called as a system is"
        raise ValueError(f"the server has {listed}; say which one to ask: recserve ask MODEL")
    return there[0]


def asked() -> Iterable[str]:
    """Models that are asked, as releases call them by themselves: a client without the admin key cannot list any, and
    a team's own systems may be registered at any time."""
    return (*SYSTEMS, *(f"{name}{OF_USER}" for name in SYSTEMS), RETRIEVE_THEN_RANK)


def _there(client: Admin, names: Iterable[str]) -> Iterable[Served]:
    for name in names:
        try:
            config = client.config(name)
        except ModelUnavailable:
            continue
        yield Served(name, Identity.of(config), config)


def data_of(served: Served, wanted: str | None = None) -> Interactions:
    """The data set that the served model was trained on: its users, items and titles.

    Raises ValueError where it is not the `wanted` one, where the model does not say which it is, and where the one here
    gives its ids another meaning.
    """
    model, dataset = served.model, served.identity.dataset
    if dataset is None:
        raise ValueError(
            f"the served model '{model}' does not say which data set it is of, so its ids have no titles: "
            "export it again, a model of your own with an origin"
        )
    if wanted is not None and wanted != dataset:
        raise ValueError(
            f"--dataset {wanted}, but the served model '{model}' is of data set {dataset}; leave --dataset out, or "
            "name another model"
        )
    interactions = datasets.read(dataset)
    if (here := digest(interactions.schema)) != served.identity.schema_digest:
        raise ValueError(
            f"the served model '{model}' was made of another {dataset} (schema {served.identity.schema_digest}) than "
            f"the one here (schema {here}): its ids mean something else; train on this one and export again"
        )
    return interactions


def system_of(served: Served) -> System:
    """The system that the model is of. Raises ValueError where it is of none, and for a part of a release."""
    if (whole := served.identity.part_of) is not None:
        raise ValueError(f"'{served.model}' is a part of '{whole}'; ask '{whole}'")
    name = served.identity.system
    if name is None:
        raise ValueError(f"the served model '{served.model}' is of no system here: ask it with your own client")
    return system(name)
