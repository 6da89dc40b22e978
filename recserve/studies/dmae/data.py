"""Clicks that content drives, and models to which every target's id is unknown."""

import copy

import numpy as np
import polars as pl
import torch
from torch import nn

from training.data.click import ClickBatch
from training.data.content import GRAPH_WIDTH, unit_rows
from training.data.sentence_vectors import WIDTH
from training.interactions import Content, Interactions
from training.layers.items import known
from training.layers.ranker import Embedded, HistoryModel, Tables
from training.schema import Field, Schema

_CLUSTERS, _LIKED = 6, 2
_NOISE = 0.05
_BORN_LATE, _FROM = 0.25, 0.7
"""Share of the items that come late, and when the first of them does."""
_EVENTS = 40


def content_clicks(*, num_users: int = 240, num_items: int = 240, seed: int = 0) -> Interactions:
    """Clicks that follow from what items are.

    Every item is of one of six clusters of texts and of one of six clusters of graph vectors, independently. Half of
    the users like two clusters of texts whatever the graph says, the others two of the graph whatever the text says;
    5 % of the clicks go against it. A quarter of the items come after seven tenths of the time: what is new has no
    clicks but a text and a graph. Nothing else is known of users and items. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    cluster = random.integers(0, _CLUSTERS, (2, num_items))
    born = np.where(np.arange(num_items) < _BORN_LATE * num_items, random.uniform(_FROM, 1, num_items), 0.0)
    rows = [row for user in range(1, num_users + 1) for row in _clicks_of(user, cluster, born, random)]
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=num_users + 1),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=num_items + 1),
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    )
    schema = {"user": pl.Int64, "item": pl.Int64, "time": pl.Int64, "label": pl.Float32}
    return Interactions(
        schema=Schema(dataset="content-clicks", fields=fields),
        events=pl.DataFrame(rows, schema=schema, orient="row"),
        users=pl.DataFrame({"name": ["unknown", *(f"User {one}" for one in range(1, num_users + 1))]}),
        items=pl.DataFrame({"title": ["unknown", *(f"Item {one}" for one in range(1, num_items + 1))]}),
        licence="made up by recserve",
        load_content=lambda: Content(
            *(_vectors(one, width, seed) for one, width in zip(cluster, _WIDTHS, strict=True))
        ),
    )


_WIDTHS = (WIDTH, GRAPH_WIDTH)


def _clicks_of(
    user: int, cluster: np.ndarray, born: np.ndarray, random: np.random.Generator
) -> list[tuple[int, int, int, float]]:
    """(user, item, time, label); half of what is offered is liked."""
    taste = random.permutation(_CLUSTERS)[:_LIKED]
    liked = np.isin(cluster[user % 2], taste)
    rows = []
    for time in np.sort(random.uniform(0, 1, _EVENTS)).tolist():
        offered = np.flatnonzero((born <= time) & (liked == (random.random() < 0.5)))
        item = int(random.choice(offered))
        rows.append((user, item + 1, int(1e6 * time), float(liked[item] != (random.random() < _NOISE))))
    return rows


def _vectors(cluster: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Norm 1: as much of the cluster's direction as of the item's own; row 0 zeros."""
    random = np.random.default_rng([seed, width])
    centres, own = (unit_rows(random.standard_normal((number, width))) for number in (_CLUSTERS, len(cluster)))
    return np.concatenate([np.zeros((1, width)), unit_rows(centres[cluster] + own)]).astype(np.float32)


class UnknownTargets(Tables):
    """The tables of a trained model, where every target's id is one that training never saw; its fields, its content
    and the history are what they were."""

    def __init__(self, tables: Tables) -> None:
        nn.Module.__init__(self)
        self.num_items, self.items = tables.num_items, tables.items
        self.behaviours, self.profile = tables.behaviours, tables.profile
        self.unseen = copy.deepcopy(tables.items)
        self.unseen.rows.row_of.fill_(int(self.unseen.rows.row_of[0]))
        self.unseen.bucket_of.zero_()

    def look_up(self, batch: ClickBatch) -> Embedded:
        """As trained, but for the target."""
        target = nn.functional.embedding(known(batch.item, self.num_items), self.unseen())
        return super().look_up(batch)._replace(target=target)


@torch.no_grad()
def with_unknown_targets(module: HistoryModel) -> HistoryModel:
    """A copy of a trained model that knows no target's id."""
    copied = copy.deepcopy(module).eval()
    copied.tables = UnknownTargets(copied.tables)
    return copied
