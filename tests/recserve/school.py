"""A school: a team's own tables of answers, with ids of text, and an untrained tracing model of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
import torch

from export.artifacts import Source
from export.repository import publish
from export.user_events import add_user_events
from recserve.cli import main
from tests.once import once
from training import datasets
from training.baselines.pfa import PFA, Config
from training.data.simulated_students import Simulation, simulate
from training.interactions import Interactions
from training.servable import Origin, of_origin
from training.system import PLAIN
from training.tasks.tracing import TRACING
from training.tasks.tracing_kept_served import kept
from training.tasks.tracing_served import served

NAMES = ("adding", "carrying", "counting", "doubling", "halving")
_SCHEMA = """\
name = "school"
licence = "none: generated"
[events]
user = "student"
item = "question"
value = "right"
positive = ">= 1"
time = "at"
concepts = "skills"
"""


def _tables(folder: Path) -> Path:
    """Simulated students as a team's own tables, with ids of text."""
    made = simulate(Simulation(students=30, most_answers=40)).interactions
    concepts = made.items["concepts"].to_list()
    events = made.events
    folder.mkdir()
    pl.DataFrame(
        {
            "student": [f"s{one:02}" for one in events["user"]],
            "question": [f"q{one:02}" for one in events["item"]],
            "right": events["label"].cast(pl.Int64),
            "at": 1_700_000_000 + 60 * events["time"],
            "skills": ["|".join(NAMES[one - 1] for one in concepts[item]) for item in events["item"]],
        }
    ).write_parquet(folder / "events.parquet")
    (folder / "schema.toml").write_text(_SCHEMA)
    return folder


def _publish(folder: Path, interactions: Interactions) -> None:
    """The model that is asked by student alone, and the one that is sent the sequence."""
    data = TRACING.view(interactions, PLAIN)
    torch.manual_seed(0)
    model = PFA(Config(), data.schema)
    model.prepare(data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    release = (*kept("pfa", model.eval(), data), served("pfa", model, data)[-1])
    origin = Origin(system="pfa", task="tracing", schema=data.schema)
    publish(folder, of_origin(release, origin), Source(kind="run", name="pfa"), data.schema)
    add_user_events(folder)


@contextmanager
def registered(root: Path) -> Iterator[Interactions]:
    """The data set school, in a cache below `root`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSERVE_CACHE", str(root / "cache"))
        assert main(["data", "add", str(_tables(root / "school"))]) == 0
        yield datasets.read("school")


def models(factory: pytest.TempPathFactory, interactions: Interactions) -> Path:
    """pfa_of_user and pfa, exported once for all processes of a run of the tests, and copied."""
    return once(factory, "school", lambda folder: _publish(folder, interactions))
