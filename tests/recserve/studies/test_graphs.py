"""The study of served graphs: its counts are those of a graph whose work is known, its floor is below its time."""

import json
from pathlib import Path

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from export.artifacts import Source
from export.repository import publish
from recserve.cli import main
from recserve.studies.graphs.command import row
from recserve.studies.graphs.machine import Machine
from recserve.studies.graphs.tables import cells
from training.servable import Packed, Servable, TensorSpec, servable

ITEMS, WIDTH, HIDDEN, USERS = 40, 8, 16, 3


class Known(nn.Module):
    """Items times a matrix, times the transpose of another, times a matrix of each user."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.up = nn.Embedding(ITEMS, WIDTH), nn.Linear(WIDTH, HIDDEN)
        self.down = nn.Parameter(torch.randn(HIDDEN, WIDTH))

    def forward(self, user: Float[Tensor, "B 8 4"], items: Int[Tensor, "B 5"]) -> Float[Tensor, "B 5 4"]:
        return torch.relu(self.up(self.items(items))) @ self.down @ user


def known() -> Servable:
    torch.manual_seed(0)

    def example(size: int, seed: int) -> Packed:
        random = torch.Generator().manual_seed(seed)
        return torch.randn(size, WIDTH, 4, generator=random), torch.randint(0, ITEMS, (size, 5), generator=random)

    return servable(
        name="known",
        module=Known(),
        inputs=(
            TensorSpec(name="user", dtype="float32", shape=(WIDTH, 4)),
            TensorSpec(name="items", dtype="int64", shape=(5,), minimum=0, maximum=ITEMS - 1),
        ),
        outputs=(TensorSpec(name="out", dtype="float32", shape=(5, 4)),),
        example=example,
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    publish(folder, [known()], Source(kind="factory", name="tests:known"))
    return folder


def test_the_work_of_a_graph_is_counted(repository: Path) -> None:
    found = row(repository / "known", 1000, 5, Machine(flops=1e9, bandwidth=1e6))
    multiply_adds = 5 * (WIDTH * HIDDEN + HIDDEN * WIDTH + WIDTH * 4)
    assert found["mflop"] == pytest.approx(2 * multiply_adds / 1e6, abs=5e-4)
    moved = 4 * WIDTH * 4 + 8 * 5 + 4 * 5 * 4 + 4 * (WIDTH * HIDDEN + HIDDEN * WIDTH) + 4 * 5 * WIDTH
    assert 1000 * found["kilobytes"] == pytest.approx(moved + 4 * HIDDEN, rel=0.01), "with the bias"
    assert found["floor_us"] == pytest.approx(1e3 * found["kilobytes"], rel=0.01), "memory is the slower one here"
    assert 0 < found["products"] < 1
    assert found["elements"] is None


def test_a_graph_of_next_to_no_work_has_a_floor_above_zero(repository: Path) -> None:
    found = row(repository / "known", 1, 3, Machine(flops=1e18, bandwidth=1e18))
    assert 0 < found["floor_us"] < 1e-5
    assert cells(found)[-2].endswith(" x")


def test_the_result_is_written_and_shown(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "graphs.json"
    asked = ["study", "graphs", "known", "--repository", str(repository), "--repetitions", "3", "--output", str(output)]
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(output.read_text())
    assert [one["graph"] for one in told["rows"]] == ["known"]
    assert told["machine"]["flops"] > told["machine"]["bandwidth"] / 100 > 0
    assert main(asked) == 0
    assert "known" in capsys.readouterr().out


@pytest.mark.parametrize(("names", "said"), [(["other"], "has no graph 'other'; it has known"), ([], "has no graph; ")])
def test_what_is_no_graph_is_named(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], said: str
) -> None:
    place = repository if names else tmp_path
    assert main(["study", "graphs", *names, "--repository", str(place), "--output", str(tmp_path / "out.json")]) == 2
    assert said in capsys.readouterr().err
