"""The study of tables in fewer bytes: what it times, and what the page says of the committed result."""

import json

import torch

from loadtest import RESULTS
from recserve.studies.stored_tables import tables
from recserve.studies.stored_tables.lookups import SLOW, Plan, timed
from recserve.studies.stored_tables.quality import by_one_scale
from training.layers.stored import LEVELS, rounded


def test_look_ups_of_all_forms_are_timed_against_float32() -> None:
    found = {one["form"]: one for one in timed(Plan(rows=60, width=8, ids=5, turns=10))}
    assert found.keys() == {"float32", "fp16", "int8", SLOW}
    assert found["float32"]["of_float32"] == 1
    assert all(one["median_us"] > 0 for one in found.values())


def test_one_scale_is_farther_from_small_rows_than_one_for_each() -> None:
    table = torch.randn(100, 8, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 0, 100)[:, None]
    small = slice(0, 20)
    assert (by_one_scale(table)[small] == 0).all()
    torch.testing.assert_close(
        rounded(table, "int8")[small], table[small], rtol=0, atol=float(table[small].abs().max()) / LEVELS
    )


def test_the_committed_result_saves_what_its_tables_save() -> None:
    result = json.loads((RESULTS / "quantised-tables.json").read_text())
    rows = {row["form"]: row for row in result["rows"]}
    whole, half = rows["float32"], rows["fp16"]
    assert whole["table_bytes"] == 2 * half["table_bytes"]
    for form in ("fp16", "int8"):
        saved = whole["table_bytes"] - rows[form]["table_bytes"]
        assert abs(saved - (whole["file_bytes"] - rows[form]["file_bytes"])) < 4096
    shown = tables.markdown()
    assert all(f"| {form} |" in shown for form in rows)
