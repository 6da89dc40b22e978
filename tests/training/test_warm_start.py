"""A run that starts from another one keeps what both know by raw id, whatever its number; the rest is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from serving.ids import IdMap
from training.checkpoint import start_info
from training.data.planted_clicks import planted_clicks
from training.fit import FitOptions, FitResult, fit
from training.interactions import Interactions
from training.registry import system
from training.system import Wanted
from training.window import until


def shop(*, dropped: int = 0) -> Interactions:
    """The planted set with text ids of items, without the first `dropped` of them."""
    made = planted_clicks()
    names = np.array([f"sku-{number:02}" for number in range(1, len(made.items))], dtype=object)[dropped:]
    kept = made.events.filter(made.events["item"] > dropped).with_columns(
        item=made.events.filter(made.events["item"] > dropped)["item"] - dropped
    )
    ids = IdMap(ids=names)
    fields = tuple(
        replace(field, cardinality=len(names) + 1, ids=ids.digest) if field.name == "item_id" else field
        for field in made.schema.fields
    )
    items = made.items[[0, *range(1 + dropped, len(made.items))]]
    schema = replace(made.schema, fields=fields)
    return replace(made, schema=schema, events=kept, items=items, ids={"item": ids})


def run(name: str, interactions: Interactions, folder: Path, init_from: Path | None = None) -> FitResult:
    chosen = system(name)
    config = chosen.config(**chosen.quick)
    data = chosen.task.view(interactions, Wanted(chosen.reads, getattr(config, "max_length", 12), {}))
    # No step moves the weights: what is there at the end was there at the start.
    still = replace(
        chosen,
        stages=lambda one: [
            replace(stage, learning_rate=0.0, weight_decay=0.0, groups=()) for stage in chosen.stages_of(one)
        ],
    )
    return fit(
        still,
        config,
        data,
        FitOptions(run=folder, seed=len(folder.name), max_epochs=1, quiet=True, init_from=init_from),
    )


@pytest.mark.parametrize("name", ["fm", "din"])
def test_rows_follow_their_raw_ids(name: str, tmp_path: Path) -> None:
    before = run(name, shop(dropped=10), tmp_path / "before").module.state_dict()
    after = run(name, shop(), tmp_path / "after-it", init_from=tmp_path / "before").module.state_dict()
    users = len(planted_clicks().users)
    table = "embedding.rows.weight" if name == "fm" else "tables.items.rows.weight"
    start = {"fm": sum((users, 4, 4, 4, 4)), "din": 0}[name]
    new, old = after[table][start:], before[table][start:]
    assert torch.equal(new[0], old[0]), "the unknown item"
    assert torch.equal(new[11:49], old[1:39]), "item sku-11 was number 1 and is number 11"
    assert not torch.isin(new[1:11], old).all(dim=1).any(), "what is new keeps its own first weights"
    assert torch.equal(
        after["embedding.rows.weight"][:users] if name == "fm" else after["tower.last.weight"],
        before["embedding.rows.weight"][:users] if name == "fm" else before["tower.last.weight"],
    )


def test_what_belongs_to_the_numbers_of_ids_is_refused_where_they_changed(tmp_path: Path) -> None:
    run("dea", shop(dropped=10), tmp_path / "before")
    with pytest.raises(ValueError, match="'memory' belongs to the numbers of item_id, which have changed; train anew"):
        run("dea", shop(), tmp_path / "after", init_from=tmp_path / "before")


def test_another_system_and_an_unfinished_run_are_refused(tmp_path: Path) -> None:
    run("fm", planted_clicks(), tmp_path / "before")
    with pytest.raises(ValueError, match="cannot start this run: its parameter"):
        run("deepfm", planted_clicks(), tmp_path / "after", init_from=tmp_path / "before")
    with pytest.raises(ValueError, match="holds no run"):
        run("fm", planted_clicks(), tmp_path / "again", init_from=tmp_path / "nowhere")


def test_a_run_remembers_the_place_of_the_other_one_and_not_how_it_was_written(tmp_path: Path) -> None:
    told = [FitOptions(run=tmp_path, init_from=tmp_path / way / "before") for way in ("", "runs/..")]
    infos = [start_info(system("fm"), planted_clicks(), options) for options in told]
    assert {info.init_from for info in infos} == {str(tmp_path / "before")}


def test_a_window_ends_before_its_day() -> None:
    made = planted_clicks()
    day = 86_400
    spread = replace(made, events=made.events.with_columns(time=made.events["time"] * day // 4))
    cut = until(spread, "1970-01-11")
    assert (cut.events["time"] < 10 * day).all()
    assert len(cut.events) == (spread.events["time"] < 10 * day).sum()
    assert len(cut.events)
    with pytest.raises(ValueError, match="planted-clicks has no event before 1969-01-01"):
        until(spread, "1969-01-01")
    with pytest.raises(ValueError, match="--until soon is no day; write YYYY-MM-DD"):
        until(spread, "soon")
