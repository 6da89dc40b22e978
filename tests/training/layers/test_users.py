"""Where the rows of users come from: out of a graph, or of a step where histories decide something of them."""

from dataclasses import replace

import polars as pl
import pytest
import torch

from tests.training.click_views import following, view_of
from tests.training.following_views import rated_fields
from training.data.planted_clicks import planted_fields
from training.interactions import Interactions
from training.layers.fields import FieldEmbedding
from training.layers.id_tables import IdTables
from training.registry import system
from training.servable import Signature

USER = "the table of users has last_liked 1 of user 1, and \\d+ follows from the events; let both say the same"


def released(name: str, interactions: Interactions, **config: object) -> tuple[Signature, ...]:
    chosen = system(name)
    data = view_of(chosen, interactions)
    made = chosen.config(**config)
    return chosen.release(chosen.build(made, data.schema).eval(), made, data)


@pytest.mark.parametrize(
    ("name", "interactions", "config", "parts"),
    [
        ("fm", planted_fields(), {}, []),
        ("fm", rated_fields(), {}, ["fm_user", "fm_scorer"]),
        ("dea", rated_fields(), {}, ["dea_user", "dea_scorer"]),
        ("matt", rated_fields(), {"base": "dea"}, ["matt_user", "matt_sampler", "matt_scorer"]),
        ("din", following(), {}, ["din_history", "din_scorer"]),
    ],
    ids=["table", "plain", "absorbed", "paths", "histories"],
)
def test_users_whose_fields_follow_from_their_histories_are_read_once_by_one_step(
    name: str, interactions: Interactions, config: dict, parts: list[str]
) -> None:
    *own, whole = released(name, interactions, **config)
    assert [one.name for one in own] == parts
    assert whole.reads_histories == bool(parts)
    if parts:
        first, *others = whole.steps
        assert first.model == parts[0]
        assert not any("user_id" in step.inputs for step in others), "all of them read the same row"


def test_a_table_of_users_that_says_otherwise_than_the_histories_is_not_served() -> None:
    given = rated_fields()
    wrong = replace(given, users=given.users.with_columns(last_liked=pl.lit(1, pl.Int64)))
    with pytest.raises(ValueError, match=USER):
        released("fm", wrong)


def test_an_id_of_a_row_that_a_request_brings_is_known_where_the_embedding_knows_it() -> None:
    data = view_of(system("fm"), rated_fields())
    embedding = FieldEmbedding(data.features.layout, 2, min_count=40)
    embedding.prepare(data)
    users, items = (torch.from_numpy(side.ids) for side in (data.features.users, data.features.items))
    strange = torch.cat([users, users[:2] + 2**40, users[:2] - 2**40])
    found, _ = IdTables(data, embedding)(strange, torch.zeros(1, dtype=torch.int64))
    expected = embedding.known(torch.cat([strange, items[:1].expand(len(strange), -1)], dim=1))[:, : users.shape[1]]
    assert torch.equal(found, expected)
    assert not torch.equal(found[: len(users)], users), "some are rare"
