"""`recserve serve --follow` says what the server serves, also where releases appear while it looks."""

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from export.artifacts import Source
from export.repository import publish
from recserve.commands import serve
from recserve.commands.serve import Serve
from serving.client import Client
from serving.rollout import Release, roll_out, served
from serving.server import ServerOptions, TritonServer
from tests.conftest import lrea

SOURCE = Source(kind="factory", name="tests.conftest:lrea")
MODELS = ("lrea_ranker", "lrea_scorer", "lrea_user_encoder", "user_state")


class Follower(Serve):
    """`serve` whose words can be read."""

    @property
    def console(self) -> Console:
        return CONSOLE


CONSOLE = Console(file=io.StringIO(), width=300)


@pytest.fixture
def live(repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repository, tmp_path / "live"))


@pytest.fixture
def server(live: Path, tmp_path: Path) -> Iterator[TritonServer]:
    with TritonServer(live, ServerOptions(state=tmp_path / "state", model_control="explicit")) as one:
        yield one


def followed(follower: Serve, server: TritonServer) -> str:
    """What is said of one look at the repository."""
    CONSOLE.file = io.StringIO()
    assert follower._follow(server, None) is None
    return CONSOLE.file.getvalue().strip()


@pytest.mark.triton_server
def test_what_is_said_is_what_the_server_serves_while_releases_appear_in_between(
    live: Path, server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release appears after the look at the repository and before the roll-out: the moment that was missed."""

    def published_just_before(client: Client, repository: Path, target: str, **options: object) -> Release | None:
        if later:
            publish(live, lrea(later.pop()), SOURCE)
        return roll_out(client, repository, target, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(serve, "roll_out", published_just_before)
    later = [3]
    follower = Follower(repository=live)
    assert followed(follower, server) == "", "nothing is new, and what appears meanwhile is for the next look"
    publish(live, lrea(4), SOURCE)
    later = [5]
    versions = []
    while said := followed(follower, server):
        numbers = dict(re.findall(r"(\w+) (\d+)", said.removeprefix("serving ")))
        with server.client() as client:
            assert {name: int(number) for name, number in numbers.items()} == served(client).versions
        assert set(numbers) == set(MODELS)
        versions.append(numbers["lrea_ranker"])
    assert versions == ["3", "4"]


@pytest.mark.triton_server
def test_a_release_of_which_only_a_part_is_there_is_not_served(live: Path, server: TritonServer) -> None:
    publish(live, lrea(1), SOURCE)
    hidden = live / "lrea_ranker" / ".2.hidden"
    (live / "lrea_ranker" / "2").rename(hidden)
    follower = Follower(repository=live)
    assert followed(follower, server) == ""
    with server.client() as client:
        assert served(client).versions == dict.fromkeys(MODELS, 1)
    hidden.rename(live / "lrea_ranker" / "2")
    assert followed(follower, server) == f"serving {', '.join(f'{name} 2' for name in MODELS)}"


def test_the_newest_release_is_one_that_is_there_as_a_whole(live: Path) -> None:
    for version in (2, 3):
        for model in MODELS[:version]:
            copied = Path(shutil.copytree(live / model / "1", live / model / str(version)))
            manifest = json.loads((copied / "manifest.json").read_text())
            assert manifest["release"] == sorted(MODELS)
    assert Release.newest(live, "cpu").versions == dict.fromkeys(MODELS, 1)
    for model in MODELS[2:]:
        shutil.copytree(live / model / "1", live / model / "2", dirs_exist_ok=True)
    assert Release.newest(live, "cpu").versions == dict.fromkeys(MODELS, 2)
