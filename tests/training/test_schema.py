"""A schema survives JSON."""

import json

import pytest
from training.data.synthetic import planted

from training import schema


def test_a_schema_comes_back_from_json() -> None:
    before = planted().schema
    assert schema.from_json(json.loads(json.dumps(schema.to_json(before)))) == before


@pytest.mark.parametrize("values", [{}, {"dataset": "x"}, {"dataset": "x", "fields": [{"nome": "y"}]}])
def test_what_is_no_schema_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match="not a schema"):
        schema.from_json(values)
