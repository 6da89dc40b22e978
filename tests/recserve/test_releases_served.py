"""A running server goes where `recserve releases` says, under load, or stays where it is."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from loadtest.served import Served, until
from recserve.cli import main
from serving import releases
from serving.client import Client
from serving.errors import ServingError
from serving.server import ServerOptions, TritonServer
from tests.recserve.crowd import answers, crowd
from tests.sealing import reseal

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(60)]
MODELS = ("lrea", "lrea_encoder", "lrea_scorer", "lrea_state")
NOBODY = "127.0.0.1:9"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def live(two_releases: Path, tmp_path: Path, capsys: Captured) -> Path:
    """Releases 1 and 2, of which 1 is served."""
    copied = Path(shutil.copytree(two_releases, tmp_path / "live"))
    assert main(["releases", "promote", "lrea@1", "--repository", str(copied), "--url", NOBODY]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"lrea 1 is served from the next start on, as nobody at {NOBODY} has it"
    return copied


@pytest.fixture
def served(live: Path, tmp_path: Path) -> Iterator[Served]:
    with Served(live, "--follow", "--state", tmp_path / "state", "--drain-s", 0) as one:
        assert one.address.url
        yield one


def move(capsys: Captured, served: Served, *words: str, code: int = 0) -> Any:
    """What `recserve releases WORDS` says to a program, or of its error."""
    capsys.readouterr()
    options = ["--repository", str(served.repository), "--url", served.address.url]
    assert main(["releases", *words, *options, "--json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if code == 0 else " ".join(printed.err.split())


def loaded(client: Client) -> set[tuple[str, ...]]:
    return {tuple(sorted(client.metadata(model).versions)) for model in MODELS}


def test_promote_and_roll_back_fail_no_request_and_mix_no_answer(live: Path, served: Served, capsys: Captured) -> None:
    with served.client() as client, crowd(served.address.url, live / "lrea") as clients:
        known = {1: answers(client, "lrea", clients.requests, 1)}
        assert move(capsys, served, "promote", "lrea") == {
            "release": "lrea",
            "version": 2,
            "before": [1],
            "server": served.address.url,
        }
        assert loaded(client) == {("1", "2")}, "the one before stays loaded"
        known[2] = answers(client, "lrea", clients.requests, 2)
        assert move(capsys, served, "rollback", "lrea")["version"] == 1
        assert loaded(client) == {("1",)}, "as tritonserver answers from the highest"
        assert "nothing was before it" in move(capsys, served, "rollback", "lrea", code=2)
        assert move(capsys, served, "promote", "lrea@2")["version"] == 2
        assert move(capsys, served, "prune", "--keep", "1")["removed"] == []
        given = clients.given_by(known)
    assert clients.errors == []
    assert set(given) == {1, 2}, given
    assert min(given.values()) > 50


def test_a_damaged_release_and_one_that_answers_wrongly_are_refused_and_the_old_one_goes_on(
    live: Path, served: Served, capsys: Captured
) -> None:
    shutil.copy(live / "lrea_scorer" / "1" / "golden.safetensors", live / "lrea_scorer" / "2" / "golden.safetensors")
    before = (live / "releases.json").read_bytes(), (live / "lrea" / "configs" / "cpu.pbtxt").read_bytes()
    with served.client() as client, crowd(served.address.url, live / "lrea") as clients:
        known = {1: answers(client, "lrea", clients.requests, 1)}
        said = move(capsys, served, "promote", "lrea", code=1)
        assert "lrea 2 is refused, nothing is changed:" in said
        assert "lrea_scorer/2/golden.safetensors is not what was published" in said
        assert ((live / "releases.json").read_bytes(), (live / "lrea" / "configs" / "cpu.pbtxt").read_bytes()) == before
        reseal(live)
        said = move(capsys, served, "promote", "lrea", code=1)
        assert "lrea 2 was refused, 1 goes on: lrea_scorer version 2: golden request 0 " in said
        assert loaded(client) == {("1",)}, "all that was loaded is taken back"
        now = releases.read(live)["lrea"]
        assert (now.served, now.before, now.refused is not None and now.refused.version) == (1, (), 2)
        assert (live / "lrea" / "configs" / "cpu.pbtxt").read_bytes() == before[1]
    assert clients.errors == []
    assert set(clients.given_by(known)) == {1}


def test_a_server_that_is_killed_on_the_way_comes_back_with_what_was_chosen(
    live: Path, served: Served, capsys: Captured
) -> None:
    with served.client() as client, ThreadPoolExecutor(1) as executor:
        promoted = executor.submit(move, capsys, served, "promote", "lrea")
        until(lambda: "2" in client.metadata("lrea_encoder").versions)
        os.kill(served.server, signal.SIGKILL)
        assert promoted.result()["version"] == 2
        served.says("restart 1: ready again")
        assert loaded(client) == {("1", "2")}
        os.kill(served.server, signal.SIGKILL)
        served.says("restart 2: ready again")
        until(lambda: _is_up(client))
        assert loaded(client) == {("2",)}


def _is_up(client: Client) -> bool:
    try:
        return client.server_ready() and bool(client.metadata("lrea").versions)
    except ServingError:
        return False


def test_a_start_and_a_restart_serve_what_was_chosen_also_where_nobody_follows(
    live: Path, tmp_path: Path, capsys: Captured
) -> None:
    before = releases.read(live)
    with TritonServer(live, ServerOptions(state=tmp_path / "state")) as server:
        with server.client() as client:
            assert loaded(client) == {("1",)}, "although 2 is there"
        words = ["releases", "promote", "lrea", "--repository", str(live), "--url", server.url, "--deadline-s", "0.5"]
        assert main(words) == 1
        assert "does not serve lrea 2 after 0.5 s, and 1 is chosen again" in capsys.readouterr().err
        assert releases.read(live) == before
        server.process.kill()
        server.process.wait()
        server.restart()
        with server.client() as client:
            assert loaded(client) == {("1",)}
