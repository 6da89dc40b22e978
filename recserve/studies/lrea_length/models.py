"""The models of the length benchmark: seeded random weights, synthetic histories, the same sizes in every way.

Where the sizes come from: width 64, 2 heads and rank 32 are what the project's notes on LREA start with and count its
cost for (papers/ranking.md, section 1; the paper's own are unknown). The final network of 192, 200 and 80 units and
36 units in the activation network are those of DIN (KDD 2018). The catalogue is our choice: tables larger than a
core's own cache. Candidates are drawn uniformly, which is the hardest case for that cache.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import nn

from recserve.studies.lrea_length.raw import Din, RawRanker, Softmax, Unabsorbed, raw_servable
from training.baselines import din
from training.data.click import HISTORY, ClickData, click_data
from training.interactions import Interactions
from training.layers.items import MIN_TRAIN_COUNT
from training.schema import Field, Schema
from training.servable import Servable, Signature
from training.system import Wanted
from training.systems.lrea.model import LREA, Config
from training.systems.lrea.servables import servables

CANDIDATES = 1000
USERS = 8
ITEMS = 20_000
TAGS = 18
USER_FIELDS = ("field_1", "field_2", "field_3", "field_4")
FIELD_VALUES = 100
MAX_VALUE = 5
ATTENTION_UNITS = 36
MAX_BATCH_SIZE = 8
"""Of the models here: one caller asks for one user at a time, and batches of more only make publishing slow."""

RAW = ("din", "softmax", "unabsorbed")
"""Ways that read the history when asked."""
STORED = ("absorbed", "fully_absorbed")
"""Ways that read the user's prestored state."""


class Models(NamedTuple):
    """Everything for one length of history; every user has exactly that many events."""

    length: int
    data: ClickData
    stored: tuple[Signature, ...]
    """Encoder, scorer, step of states and ensemble in the factored layout, then the scorer on M."""
    raw: tuple[Servable, ...]
    """In the order of `RAW`."""
    full_encoder: Signature
    """History -> M; run in PyTorch, only to fill requests."""


def config_of(length: int) -> Config:
    """LREA's configuration; only `max_length` and the matrices of that length differ between the lengths."""
    return Config(dim=64, heads=2, rank=32, hidden=(200, 80), max_length=length)


def sizes() -> dict[str, Any]:
    """What all ways share, for the result."""
    config = config_of(1 << 20)
    shared = {name: value for name, value in asdict(config).items() if name in ("dim", "heads", "rank", "hidden")}
    return {**shared, "attention_units": ATTENTION_UNITS, "items": ITEMS, "candidates": CANDIDATES, "users": USERS}


def name_of(way: str, length: int) -> str:
    """The model that answers `way` for histories of this length."""
    models = {"absorbed": "lrea_scorer", "ranker": "lrea", "fully_absorbed": "lrea_full_scorer"}
    return f"{models.get(way, way)}_{length}"


def build(length: int, seed: int = 0) -> Models:
    """Models whose weights are equal in all ways and, but for W_dn, W_up, at all lengths; everything from the seed."""
    data = histories(length, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LREA(config_of(length), data.schema)
        model.prepare(data)
        _make_popular(model, data, seed)
        _spread(model)
        network = din.DIN(
            din.Config(dim=64, hidden=(200, 80), max_length=length, attention_units=ATTENTION_UNITS), data.schema
        )
    network.tables, network.tower = model.tables, model.tower
    model.eval()
    network.eval()
    full = LREA(replace(model.config, layout="absorbed"), data.schema)
    full.load_state_dict(model.state_dict())
    full_encoder, full_scorer, *_ = servables("lrea_full", full.eval(), full.config, data)
    stored = (*servables("lrea", model, model.config, data), full_scorer)
    ways: Sequence[RawRanker] = (Din(model, network), Softmax(model), Unabsorbed(model))
    return Models(
        length=length,
        data=data,
        stored=tuple(_named_for(length, signature) for signature in stored),
        raw=tuple(raw_servable(name_of(way, length), module, data) for way, module in zip(RAW, ways, strict=True)),
        full_encoder=full_encoder,
    )


def histories(length: int, seed: int) -> ClickData:
    """`USERS` users with `length` events each, with items drawn uniformly."""
    random = np.random.default_rng(seed)
    tags = random.integers(1, TAGS + 1, ITEMS).tolist()
    users = random.integers(1, FIELD_VALUES, (USERS + 1, len(USER_FIELDS)))
    number = USERS * length
    value = random.integers(1, MAX_VALUE + 1, number)
    events = {
        "user": np.repeat(np.arange(1, USERS + 1), length),
        "item": random.integers(1, ITEMS + 1, number),
        "value": value,
        "time": np.tile(np.arange(length), USERS),
        "label": (value == MAX_VALUE).astype(np.float32),
    }
    tag_lists = pl.Series([[], *([tag] for tag in tags)], dtype=pl.List(pl.Int64))
    interactions = Interactions(
        schema=_schema(),
        events=pl.DataFrame(events),
        users=pl.DataFrame(users, schema=list(USER_FIELDS)),
        items=pl.DataFrame({"tags": tag_lists}),
        licence="made up by recserve",
    )
    return click_data(interactions, Wanted(frozenset({HISTORY}), length, {}))


def _schema() -> Schema:
    profile = (Field(name=name, role="user", kind="id", cardinality=FIELD_VALUES) for name in USER_FIELDS)
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=USERS + 1),
        *profile,
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=ITEMS + 1),
        Field(name="tags", role="item", kind="multi", cardinality=TAGS + 1, width=1),
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="value", role="event", kind="id", uses=("value",), cardinality=MAX_VALUE + 1),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    )
    return Schema(dataset="synthetic", fields=fields)


def _make_popular(model: LREA, data: ClickData, seed: int) -> None:
    """Gives every item and value a row: the few events of short histories would leave many in that of the unknown."""
    tables, counts = model.tables, np.random.default_rng([seed, 1]).integers(MIN_TRAIN_COUNT, 1000, ITEMS + 1)
    tables.items.prepare(counts, data.item_profile, np.arange(1, ITEMS + 1))
    for table in (tables.behaviours.rating, tables.profile.rows):
        table.prepare(np.ones(table.num_embeddings, np.int64))


def _spread(model: LREA) -> None:
    """Vectors of size 1 and a bias that counts: with small ones every score would be alike and no check would see."""
    tables = model.tables
    for table in (tables.items.rows, tables.items.popularity, tables.behaviours.rating, tables.profile.rows):
        nn.init.normal_(table.weight)
    nn.init.constant_(model.bias, 0.5)


def _named_for(length: int, signature: Signature) -> Signature:
    """The same model under a name of its own; the fp64 forms stay with the parity ladder."""
    own = signature.renamed(lambda name: f"{name}_{length}")
    return replace(own, max_batch_size=MAX_BATCH_SIZE, reference=None, eager64=None)
