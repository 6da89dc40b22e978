"""The programs under docs/examples, over the public files that they read."""

import importlib.util
import os
from pathlib import Path

import pytest

from recserve.commands.data.findings import lacks_of
from training.data.folder.build import inspect
from training.interactions import Interactions, silent

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


def tables(name: str, folder: Path) -> Interactions:
    """What a user of the folder that the example writes gets; nothing is wrong with it."""
    if "RECSERVE_DATA" not in os.environ:
        pytest.skip("RECSERVE_DATA does not say where the public files are")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder)
    found = inspect(folder, None, silent)
    assert found.problems.found == []
    assert found.interactions
    return found.interactions


def test_films_are_own_tables_that_all_tasks_but_tracing_can_use(tmp_path: Path) -> None:
    films = tables("films_tables", tmp_path / "films")
    assert (len(films.events), len(films.users), len(films.items)) == (100_023, 707, 8_571)
    assert films.ids["user"].ids[0] == "u00001"
    assert films.titles[1] == "Toy Story (1995)"
    assert [task for task, lacks in lacks_of(films).items() if lacks] == ["tracing"]


def test_clips_are_own_tables_with_scenarios_and_objectives(tmp_path: Path) -> None:
    clips = tables("clips_tables", tmp_path / "clips")
    assert (len(clips.events), len(clips.users), len(clips.items)) == (41_704, 665, 9_360)
    assert [one.name for one in clips.schema.of("objective")] == ["is_click", "long_view", "is_like"]
    assert clips.schema.only("scenario", "event").values == ("unknown", "long", "middle", "short")
    assert [task for task, lacks in lacks_of(clips).items() if lacks] == ["semantic_ids", "tracing"]
