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
from training.data.ranking import USER_FIELDS, Catalogue, RankingData, split_by_time
from training.layers.items import MIN_TRAIN_COUNT
from training.servable import EnsembleServable, Servable, Signature, UserStateServable
from training.systems.lrea.model import LREA, Config
from training.systems.lrea.servables import servables

CANDIDATES = 1000
USERS = 8
ITEMS = 20_000
GENRES = 18
FIELD_VALUES = 100
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
    data: RankingData
    stored: tuple[Signature, ...]
    """Encoder, scorer, user state and ensemble in the factored layout, then the scorer on M."""
    raw: tuple[Servable, ...]
    """In the order of `RAW`."""
    full_encoder: Servable
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
    scorers = {"absorbed": "lrea_scorer", "ranker": "lrea_ranker", "fully_absorbed": "lrea_full_scorer"}
    return f"{scorers.get(way, way)}_{length}"


def build(length: int, seed: int = 0) -> Models:
    """Models whose weights are equal in all ways and, but for W_dn, W_up, at all lengths; everything from the seed."""
    data = histories(length, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LREA(config_of(length), data.schema)
        model.prepare(data)
        _spread(model)
        network = din.DIN(
            din.Config(dim=64, hidden=(200, 80), max_length=length, attention_units=ATTENTION_UNITS), data.schema
        )
    network.tables, network.tower = model.tables, model.tower
    model.eval()
    network.eval()
    full = LREA(replace(model.config, layout="absorbed"), data.schema)
    full.load_state_dict(model.state_dict())
    encoder, full_scorer, *_ = servables(full.eval(), full.config, data)
    assert isinstance(encoder, Servable)
    factored = servables(model, model.config, data)
    scorer = replace(full_scorer, name="lrea_full_scorer")
    ways: Sequence[RawRanker] = (Din(model, network), Softmax(model), Unabsorbed(model))
    stored = (*factored, scorer)
    return Models(
        length=length,
        data=data,
        stored=tuple(_named_for(length, signature) for signature in stored),
        raw=tuple(raw_servable(name_of(way, length), module, data) for way, module in zip(RAW, ways, strict=True)),
        full_encoder=encoder,
    )


def histories(length: int, seed: int) -> RankingData:
    """`USERS` users with `length` ratings each of items drawn uniformly, in the form of `movielens.load`."""
    random = np.random.default_rng(seed)
    genres = np.zeros((ITEMS + 1, GENRES), np.float32)
    genres[np.arange(1, ITEMS + 1), random.integers(0, GENRES, ITEMS)] = 1.0
    user_fields = random.integers(1, FIELD_VALUES, (USERS + 1, len(USER_FIELDS)))
    popularity = random.integers(MIN_TRAIN_COUNT, 1000, ITEMS + 1)
    values = ("unknown", *(str(value) for value in range(1, FIELD_VALUES)))
    catalogue = Catalogue(
        titles={},
        genres=tuple(str(number) for number in range(GENRES)),
        item_genres=genres,
        user_fields=user_fields,
        field_values=dict.fromkeys(USER_FIELDS, values),
    )
    number = USERS * length
    ratings = pl.DataFrame(
        {
            "user": np.repeat(np.arange(1, USERS + 1), length),
            "item": random.integers(1, ITEMS + 1, number),
            "rating": random.integers(1, 6, number),
            "timestamp": np.tile(np.arange(length), USERS),
        }
    )
    data = split_by_time("synthetic", ratings, catalogue, length)
    # Else the few ratings of short histories would leave every item in the row of the unknown ones.
    return replace(data, train_item_counts=popularity)


def _spread(model: LREA) -> None:
    """Vectors of size 1 and a bias that counts: with small ones every score would be alike and no check would see."""
    tables = model.tables
    for table in (tables.items.rows, tables.items.popularity, tables.behaviours.rating, tables.profile.rows):
        nn.init.normal_(table.weight)
    nn.init.constant_(model.bias, 0.5)


def _named_for(length: int, signature: Signature) -> Signature:
    """The same model under a name of its own; the fp64 forms stay with the parity ladder."""
    own = replace(
        signature,
        name=f"{signature.name}_{length}",
        max_batch_size=MAX_BATCH_SIZE,
        reference=None,
        eager64=None,
    )
    if isinstance(own, UserStateServable):
        encoder = _named_for(length, own.encoder)
        assert isinstance(encoder, Servable)
        return replace(own, encoder=encoder)
    if isinstance(own, EnsembleServable):
        steps = tuple(replace(step, model=f"{step.model}_{length}") for step in own.steps)
        return replace(own, steps=steps)
    return own
