"""Small CHIMEs, on planted clicks and on users who have an old interest and a new one."""

from functools import cache

import numpy as np
import polars as pl
import torch

from tests.training.click_views import view
from training.data.batching import batches
from training.data.click import AGES, HISTORY, ClickData
from training.data.planted_clicks import planted_clicks
from training.interactions import Content, Interactions
from training.schema import Field, Schema
from training.systems.chime import CHIME, Config
from training.systems.chime.sequences import Sequences, compress_loss

LENGTH = 40
SMALL = Config(
    dim=8,
    max_length=LENGTH,
    hidden=(8, 4),
    dropout=0.0,
    width=16,
    depth=2,
    heads=2,
    window=4,
    projected=8,
    interest=8,
    levels=3,
    words=8,
    recent=6,
    negatives=64,
    sequence=16,
)
READS = frozenset({HISTORY, AGES})
CLUSTERS, OF_ONE = 6, 8
USERS, OLD, NEW = 60, 30, 8
"""Users, their events of the old interest, and of the new one."""


def data(max_length: int = LENGTH) -> ClickData:
    return _data(max_length)


@cache
def _data(max_length: int) -> ClickData:
    return view(planted_clicks(), READS, max_length)


def model(config: Config = SMALL, seed: int = 0) -> CHIME:
    """Untrained, with gaps and offsets that count, and words where interests are."""
    torch.manual_seed(seed)
    built = CHIME(config, data().schema)
    built.prepare(data())
    with torch.no_grad():
        gaps = built.compressor.adaptation.gap.rows.weight, built.compressor.adaptation.first
        for own in (built.reader.own_keys, built.reader.own_values, *gaps):
            own.normal_()
    started(built)
    return built.eval()


def started(built: CHIME) -> None:
    """Words by k-means over what the compressor makes of all events."""
    assert built.past is not None
    with torch.no_grad():
        built.compressor.levels.start(built.past.seen(built.compressor).interests)


def bursts() -> Interactions:
    """Users who like one cluster for long and then another one, in which each item leads to the next.

    Cluster c holds the items c OF_ONE + 1 to (c + 1) OF_ONE; in a burst they come in the order of their numbers, around
    the clock from any start. All events are liked, and those of the last tenth of the users come last of all.
    """
    random = np.random.default_rng(0)
    rows = []
    for user in range(1, USERS + 1):
        old, new = random.permutation(CLUSTERS)[:2].tolist()
        start = int(random.integers(OF_ONE))
        items = [old * OF_ONE + int(random.integers(OF_ONE)) for _ in range(OLD)]
        items += [new * OF_ONE + (start + step) % OF_ONE for step in range(NEW)]
        rows += [(user, item + 1, 1_000 * user + 10 * place) for place, item in enumerate(items)]
    items = CLUSTERS * OF_ONE
    events = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").with_columns(
        label=pl.lit(1.0, pl.Float32), value=pl.lit(1, pl.Int64)
    )
    return Interactions(
        schema=Schema(dataset="bursts", fields=_fields(items)),
        events=events,
        users=pl.DataFrame({"kind": np.ones(USERS + 1, np.int64)}),
        items=pl.DataFrame({"title": [f"Item {number}" for number in range(items + 1)]}),
        licence="made up by recserve",
        load_content=lambda: _content(items),
    )


def _fields(items: int) -> tuple[Field, ...]:
    return (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=USERS + 1),
        Field(name="kind", role="user", kind="id", cardinality=2),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=items + 1),
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="liked", role="event", kind="id", uses=("value",), cardinality=2),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    )


def _content(items: int) -> Content:
    """Of a cluster's items nearly the same."""
    random = np.random.default_rng(1)
    found = []
    for width in (384, 128):
        centres = random.standard_normal((CLUSTERS, width)).repeat(OF_ONE, axis=0)
        vectors = centres + 0.7 * random.standard_normal((items, width))
        rows = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        found.append(np.concatenate([np.zeros((1, width), np.float32), rows]))
    return Content(*found)


BURST = Config(
    dim=8,
    max_length=LENGTH,
    width=32,
    depth=2,
    heads=4,
    window=8,
    projected=16,
    interest=16,
    levels=4,
    words=16,
    recent=NEW,
    negatives=128,
    sequence=LENGTH,
)


@cache
def burst_data() -> ClickData:
    return view(bursts(), READS, LENGTH)


def trained(config: Config, passes: int) -> CHIME:
    """The first stage alone, on bursts."""
    torch.manual_seed(0)
    built = CHIME(config, burst_data().schema)
    built.prepare(burst_data())
    sequences = Sequences(burst_data(), config.sequence)
    optimiser = torch.optim.AdamW(built.compressor.parameters(), lr=5e-3)
    for number in range(passes):
        for rows in batches(sequences.cost(), 16, 0, number):
            loss, _ = compress_loss(built.compressor, sequences.batch(rows))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return built.eval()
