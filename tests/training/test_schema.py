"""A schema answers by use and role, survives JSON, and has a digest of what its ids mean."""

import json
from dataclasses import replace

import pytest

from tests.training.click_views import everything
from training import schema
from training.data.planted_clicks import planted_clicks
from training.schema import Field, Follows, Schema, digest, size_of, unlike, width_of

FIELDS = (
    Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=4, ids="a1"),
    Field(name="kind", role="user", kind="id", cardinality=3, values=("unknown", "a", "b")),
    Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=5),
    Field(name="tags", role="item", kind="multi", uses=("profile",), cardinality=6, width=2),
    Field(name="time", role="event", kind="dense", uses=("time",)),
)
MADE = Schema(dataset="made", fields=FIELDS)
RULE = Follows(field="item_id", none=5)
LAST = Field(name="last", role="user", kind="id", uses=("feature",), cardinality=6, follows=RULE)
FOLLOWING = replace(MADE, fields=(*FIELDS, LAST))


@pytest.mark.parametrize("before", [MADE, FOLLOWING, planted_clicks().schema, everything().schema])
def test_a_schema_comes_back_from_json(before: Schema) -> None:
    after = schema.from_json(json.loads(json.dumps(schema.to_json(before))))
    assert after == before
    assert digest(after) == digest(before)


@pytest.mark.parametrize(
    "values", [{}, {"dataset": "x"}, {"dataset": "x", "fields": [{"nome": "y"}]}, {"dataset": "x", "fields": [{}]}]
)
def test_what_is_no_schema_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=r"not a schema: .*; train again"):
        schema.from_json(values)


def test_fields_are_found_by_name_by_use_and_by_role() -> None:
    assert MADE["tags"] is FIELDS[3]
    assert MADE.of("profile") == (FIELDS[1], FIELDS[3])
    assert MADE.of("profile", "item", "event") == (FIELDS[3],)
    assert MADE.of("scenario") == ()
    assert (MADE.key("user"), MADE.key("item")) == (FIELDS[0], FIELDS[2])
    with pytest.raises(ValueError, match=r"field 'age' is not in the schema of made: .*'time'"):
        MADE["age"]
    with pytest.raises(ValueError, match="made must have one event field for use as label, found none"):
        MADE.only("label", "event")
    twice = replace(MADE, fields=(*FIELDS, replace(FIELDS[0], name="other_id")))
    with pytest.raises(ValueError, match=r"one user field for use as key, found \['user_id', 'other_id'\]"):
        twice.key("user")


def test_what_a_schema_leaves_open_is_said_by_name() -> None:
    assert (size_of(FIELDS[3]), width_of(FIELDS[3])) == (6, 2)
    with pytest.raises(ValueError, match="field 'time' has no cardinality"):
        size_of(FIELDS[4])
    with pytest.raises(ValueError, match="field 'time' has no width"):
        width_of(FIELDS[4])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "sort"},
        {"role": "item"},
        {"kind": "multi"},
        {"uses": ("feature",)},
        {"cardinality": 4},
        {"values": ("unknown", "b", "a")},
        {"ids": "b2"},
        {"source": "sort"},
    ],
    ids=str,
)
def test_the_digest_changes_with_what_decides_an_id_s_meaning(change: dict) -> None:
    changed = (FIELDS[0], replace(FIELDS[1], **change), *FIELDS[2:])
    assert digest(replace(MADE, fields=changed)) != digest(MADE)
    assert digest(replace(MADE, dataset="other")) != digest(MADE) != digest(replace(MADE, fields=FIELDS[::-1]))


def test_the_digest_does_not_change_with_how_much_of_a_field_is_read() -> None:
    wider = (*FIELDS[:3], replace(FIELDS[3], width=9), FIELDS[4])
    assert digest(replace(MADE, fields=wider)) == digest(MADE)


def test_schemas_that_are_unlike_name_the_fields_and_what_is_not_as_it_was() -> None:
    wider = (*FIELDS[:3], replace(FIELDS[3], width=9), FIELDS[4])
    assert unlike(MADE, replace(MADE, fields=wider)) == ["tags (width)"]
    user = replace(FIELDS[0], cardinality=5, ids="b2")
    label = Field(name="label", role="event", kind="id", uses=("label",), cardinality=2, source="stars >= 4.0")
    now = replace(MADE, fields=(user, *FIELDS[1:4], label))
    assert unlike(MADE, now) == ["time (gone)", "user_id (cardinality, ids)", "label (new)"]
    clicked = replace(now, fields=(*now.fields[:4], replace(label, source="clicked")))
    assert unlike(now, clicked) == ["label (source)"]
    assert unlike(MADE, replace(MADE, fields=FIELDS[::-1])) == ["order of the fields"]


def test_schemas_are_alike_whatever_vectors_a_view_adds() -> None:
    vector = Field(name="text", role="item", kind="vector", uses=(), width=3)
    assert unlike(replace(MADE, fields=(*FIELDS, vector)), MADE) == []
    assert unlike(MADE, MADE) == []


def test_what_a_field_follows_changes_no_id_s_meaning_and_schemas_from_before_that_do_not_say_it_are_alike() -> None:
    silent = replace(MADE, fields=(*FIELDS, replace(LAST, follows=None)))
    said = schema.to_json(silent)
    for field in said["fields"]:
        del field["follows"]
    assert schema.from_json(said) == silent
    assert digest(silent) == digest(FOLLOWING)
    assert unlike(silent, FOLLOWING) == unlike(FOLLOWING, silent) == []
    other = replace(MADE, fields=(*FIELDS, replace(LAST, follows=replace(RULE, none=4))))
    assert unlike(FOLLOWING, other) == ["last (follows)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "item"}, "'last': only a user's field of kind id follows from a history; it is a field of the item"),
        ({"kind": "multi"}, "only a user's field of kind id follows from a history; .* of kind multi"),
        ({"uses": ("feature", "profile")}, r"'last' follows from a history, beside which a profile stands: give it"),
        ({"follows": replace(RULE, field="tags")}, "'last' follows 'tags', which is no item's field of kind id"),
        ({"follows": replace(RULE, field="kind")}, "'last' follows 'kind', which is no item's field of kind id"),
        ({"follows": replace(RULE, field="age")}, "field 'age' is not in the schema of made"),
        ({"follows": replace(RULE, least=4)}, "field 'last': least is 4, but events have no value"),
    ],
)
def test_what_cannot_follow_from_a_history_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(MADE, fields=(*FIELDS, replace(LAST, **change)))
