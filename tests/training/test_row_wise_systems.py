"""Which systems only look rows of tables up, so that their tables can be spread: docs/operations.md names them."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from training import row_wise
from training.fit import trials
from training.registry import SYSTEMS
from training.system import System, Wanted, prepare

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A group of one process, in which a spread table is one all the same."""
    monkeypatch.setattr(row_wise, "LEAST_ROWS", 24)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dist.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def reason(system: System) -> str | None:
    """Why the tables cannot be spread; None where they can."""
    config = system.config(**system.quick)
    wanted = Wanted(system.reads, getattr(config, "max_length", 50), {}, getattr(config, "split", ""))
    data = system.view(system.task.view(system.task.planted(), wanted))
    torch.manual_seed(0)
    module = system.build(config, data.schema)
    prepare(module, data)
    try:
        row_wise.spread(module, system.name, torch.device("cpu"))
        row_wise.refuse_whole(module, system.name, trials(system, data, system.stages_of(config, data.schema)))
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.long
@pytest.mark.usefixtures("alone")
def test_the_page_names_the_systems_whose_tables_can_be_spread() -> None:
    reasons = {name: reason(system) for name, system in SYSTEMS.items() if not system.upstream(system.config())}
    (named,) = re.findall(r"only look rows up: ([^.]*)\.", " ".join(PAGE.read_text().split()))
    able = {name for name, why in reasons.items() if why is None}
    assert {*re.findall(r"`(\w+)`", named)} == able
    others = [why for why in reasons.values() if why is not None]
    assert all("reads a table as a whole" in why or "has no table by id" in why for why in others)


@pytest.mark.parametrize(
    ("name", "said"), [("deepfm", None), ("din", "din reads a table as a whole, which no process")]
)
@pytest.mark.usefixtures("alone")
def test_a_system_that_reads_a_table_as_a_whole_is_refused_by_name(name: str, said: str | None) -> None:
    found = reason(SYSTEMS[name])
    assert found is None if said is None else said in str(found)
