"""What a running server says of a model, and the data set that its ids belong to."""

from typing import NamedTuple

import numpy as np
from training.data.fields import FieldData
from training.data.ranking import RankingData

from recserve.runs import DATA_SETS, data_set
from serving.client import Client
from serving.errors import ModelUnavailable
from serving.identity import Identity
from training.data.sequences import SequenceData
from training.schema import digest


class Served(NamedTuple):
    """A model as the server has it."""

    model: str
    identity: Identity
    inputs: frozenset[str]


def ask(client: Client, model: str, system: str | None = None) -> Served:
    """What the server says of a model. Raises ValueError where it is of another system than the one asked for."""
    try:
        config = client.config(model)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{error}; or name one that is served with --model") from error
    identity = Identity.of(config)
    if system is not None and identity.system not in (None, system):
        raise ValueError(
            f"--system {system}, but the served model '{model}' is of system {identity.system}; name another --model"
        )
    return Served(model, identity, frozenset(tensor.name for tensor in config.input))


def data_of(served: Served, wanted: str | None = None) -> RankingData | FieldData | SequenceData:
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
            "name another --model"
        )
    if dataset not in DATA_SETS:
        raise ValueError(
            f"the served model '{model}' is of data set {dataset}, which is none of those here: {', '.join(DATA_SETS)}"
        )
    data = data_set(dataset)
    if (here := digest(data.schema)) != served.identity.schema_digest:
        raise ValueError(
            f"the served model '{model}' was made of another {dataset} (schema {served.identity.schema_digest}) than "
            f"the one here (schema {here}): its ids mean something else; train on this one and export again"
        )
    return data


def as_ids(option: str, *ids: int) -> np.ndarray:
    """int64 [len(ids)]. Raises ValueError naming the option for what is beyond int64."""
    for one in ids:
        if not -(2**63) <= one < 2**63:
            raise ValueError(f"{option} {one} is no id: ids are whole numbers of 64 bits, {-(2**63)} to {2**63 - 1}")
    return np.array(ids, np.int64)
