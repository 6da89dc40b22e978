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
from recserve_client import Client
from recserve_client.errors import ServingError
from serving import releases
from serving.server import ServerOptions, TritonServer
from tests.recserve.crowd import answers, crowd
from tests.sealing import reseal

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(60)]
MODELS = ("lrea", "lrea_encoder", "lrea_scorer", "lrea_state")
NOBODY = "127.0.0.1:9"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def served(two_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that follows what is chosen of 1 and 2, which answer alike, and 3 and 4, which do so otherwise, where 4
    expects of its scorer what 2 answers."""
    live = Path(tmp_path_factory.mktemp("served") / "live")
    for model in MODELS:
        shutil.copytree(two_releases / model, live / model, ignore=shutil.ignore_patterns("1", "2"))
        for version, origin in ((1, 1), (2, 1), (3, 2), (4, 2)):
            shutil.copytree(two_releases / model / str(origin), live / model / str(version))
    shutil.copy(live / "lrea_scorer" / "2" / "golden.safetensors", live / "lrea_scorer" / "4" / "golden.safetensors")
    assert main(["releases", "promote", "lrea@2", "--repository", str(live), "--url", NOBODY]) == 0
    with Served(live, "--follow", "--state", live.with_name("state"), "--drain-s", 0) as one:
        assert one.address.url
        yield one


@pytest.fixture
def live(served: Served, capsys: Captured) -> Path:
    """The repository, of which 2 is served."""
    move(capsys, served, "promote", "lrea@2")
    return served.repository


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
        known = {2: answers(client, "lrea", clients.requests, 2)}
        said = move(capsys, served, "promote", "lrea@3")
        assert (said["version"], said["before"][0], said["server"]) == (3, 2, served.address.url)
        assert loaded(client) == {("2", "3")}, "the one before stays loaded"
        known[3] = answers(client, "lrea", clients.requests, 3)
        assert move(capsys, served, "rollback", "lrea")["version"] == 2
        assert loaded(client) == {("2",)}, "as tritonserver answers from the highest"
        assert move(capsys, served, "promote", "lrea@3")["version"] == 3
        gone = move(capsys, served, "prune", "--keep", "1")["removed"]
        assert gone == [{"model": model, "version": 1} for model in MODELS]
        assert loaded(client) == {("2", "3")}
        given = clients.given_by(known)
    assert clients.errors == []
    assert set(given) == {2, 3}, given
    assert min(given.values()) > 50


def test_a_damaged_release_and_one_that_answers_wrongly_are_refused_and_the_old_one_goes_on(
    live: Path, served: Served, capsys: Captured
) -> None:
    files = [live / "releases.json", live / "lrea" / "configs" / "cpu.pbtxt"]
    before, standing = [path.read_bytes() for path in files], releases.read(live)["lrea"]
    with served.client() as client, crowd(served.address.url, live / "lrea") as clients:
        known = {2: answers(client, "lrea", clients.requests, 2)}
        kept = loaded(client)
        said = move(capsys, served, "promote", "lrea", code=1)
        assert "lrea 4 is refused, nothing is changed:" in said
        assert "lrea_scorer/4/golden.safetensors is not what was published" in said
        assert [path.read_bytes() for path in files] == before
        reseal(live)
        said = move(capsys, served, "promote", "lrea", code=1)
        assert "lrea 4 was refused, 2 goes on: lrea_scorer version 4: golden request 0 " in said
        assert loaded(client) == kept, "all that was loaded is taken back"
        now = releases.read(live)["lrea"]
        assert (now.served, now.before) == (2, tuple(one for one in standing.before if one != 4))
        assert now.refused is not None
        assert now.refused.version == 4
        assert files[1].read_bytes() == before[1]
    assert clients.errors == []
    assert set(clients.given_by(known)) == {2}


def test_a_server_that_is_killed_on_the_way_comes_back_with_what_was_chosen(
    live: Path, served: Served, capsys: Captured
) -> None:
    with served.client() as client, ThreadPoolExecutor(1) as executor:
        before = served.said.count("serving lrea 3")
        promoted = executor.submit(move, capsys, served, "promote", "lrea@3")
        until(lambda: "3" in client.metadata("lrea_encoder").versions)
        os.kill(served.server, signal.SIGKILL)
        assert promoted.result()["version"] == 3
        served.says("restart 1: ready again")
        until(lambda: served.said.count("serving lrea 3") > before)
        assert loaded(client) == {("2", "3")}
        os.kill(served.server, signal.SIGKILL)
        served.says("restart 2: ready again")
        until(lambda: _is_up(client))
        assert loaded(client) == {("3",)}


def _is_up(client: Client) -> bool:
    try:
        return client.server_ready() and bool(client.metadata("lrea").versions)
    except ServingError:
        return False


def test_a_start_and_a_restart_serve_what_was_chosen_also_where_nobody_follows(
    live: Path, tmp_path: Path, capsys: Captured
) -> None:
    alone = Path(shutil.copytree(live, tmp_path / "alone"))
    with TritonServer(alone, ServerOptions(state=tmp_path / "state")) as server:
        with server.client() as client:
            assert loaded(client) == {("2",)}, "although 3 and 4 are there"
        options = ["--repository", str(alone), "--url", server.url, "--deadline-s", "0.5"]
        assert main(["releases", "promote", "lrea@3", *options]) == 1
        assert "does not serve lrea 3 after 0.5 s, and 2 is chosen again" in capsys.readouterr().err
        assert releases.read(alone) == releases.read(live)
        server.process.kill()
        server.process.wait()
        server.restart()
        with server.client() as client:
            assert loaded(client) == {("2",)}
