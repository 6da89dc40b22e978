"""What keeps an edge from starting beside another one: its ports and its folder."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.edged import Edged
from recserve_client import Client
from serving.edge import bootstrap
from serving.edge.address import Address
from serving.edge.admin import Admin
from serving.edge.description import Edge, Server
from serving.edge.running import Envoy, free_port
from serving.startup import StartupError
from tests.client.conftest import Witness, serving
from tests.production.gate import HOST

pytestmark = [pytest.mark.production, pytest.mark.slow(30)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a server that says of every model that it is ready."""
    witness = Witness()
    witness.go_on.set()
    with serving(witness) as (_, url):
        yield url


@pytest.fixture(scope="module")
def first(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edged]:
    """An edge that runs."""
    with Edged(tmp_path_factory.mktemp("first") / "edge", [f"{server}=7"], "--releases", f"canary={server}") as one:
        assert one.url
        yield one


def started(*words: object) -> subprocess.CompletedProcess[str]:
    """`recserve edge`, which ends by itself."""
    command = [sys.executable, "-m", "recserve", "edge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60.0)


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.[yj]*") if path.name != "access.jsonl"}


def test_a_port_that_is_taken_is_named_by_its_option_and_nobody_is_ready(
    first: Edged, server: str, tmp_path: Path
) -> None:
    for option, taken in (("--listen", first.url), ("--admin", str(first.admin.address))):
        (other,) = {"--listen", "--admin"} - {option}
        done = started("--servers", server, "--out", tmp_path / "edge", option, taken, other, f"{HOST}:0")
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {option} {taken.rpartition(':')[2]} on {HOST}: Address already in use")
        assert "or stop what listens there; it may be an older edge" in line
    with Client(first.url) as client:
        assert client.model_ready("any")


def described(folder: Path, server: str, listen: Address, admin: Address) -> Path:
    edge = Edge(
        servers=(Server(Address.of(server, "")),), listen=listen, admin=admin, access_log=folder / "access.jsonl"
    )
    return bootstrap.write(edge, folder)


@pytest.mark.parametrize("taken", ["listen", "admin"])
def test_envoy_itself_shares_no_port_and_takes_no_other_one_s_word(
    taken: str, first: Edged, server: str, tmp_path: Path
) -> None:
    """Where both start at once, none sees the other's port in use before."""
    listen, admin = (Address(HOST, free_port(HOST)) for _ in range(2))
    if taken == "listen":
        listen = Address.of(first.url, "")
    else:
        admin = first.admin.address
    with Envoy(described(tmp_path / "edge", server, listen, admin)) as second, pytest.raises(StartupError):
        second.wait()


def test_the_folder_of_an_edge_that_runs_is_left_as_it_is(first: Edged, server: str) -> None:
    before = written(first.folder)
    assert {"envoy.yaml", "servers.json", "endpoints.yaml", "endpoints-canary.yaml"} <= before.keys()
    for more in ([], ["--write-only"]):
        ports = ["--listen", f"{HOST}:0", "--admin", f"{HOST}:0"]
        done = started("--servers", server, "--out", first.folder, *ports, *more)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: --out {first.folder}: an edge runs there; recserve edge weight and drain")
    assert written(first.folder) == before
    first.weight(f"{server}=8")
    assert {one.server.weight for one in first.admin.seen() if not one.server.release} == {8}


def test_a_folder_is_free_again_however_its_edge_ended(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        with Edged(tmp_path / "edge", [server]) as one:
            assert one.url
            one.ends(signal.SIGKILL)
    assert started("--servers", server, "--out", tmp_path / "edge", "--write-only").returncode == 0


def test_an_edge_of_another_folder_is_none(first: Edged, server: str, tmp_path: Path) -> None:
    listen, admin = Address(HOST, free_port(HOST)), first.admin.address
    path = described(tmp_path / "edge", server, listen, admin)
    with pytest.raises(OSError, match=r"is that of .*first.*/edge and not of "):
        Admin.of(path).seen()
    done = started("show", "--out", tmp_path / "edge")
    assert done.returncode == 0
    assert "no envoy runs there" in done.stdout


def test_what_is_no_edge_at_its_port_is_none(server: str, tmp_path: Path) -> None:
    path = described(tmp_path / "edge", server, Address(HOST, free_port(HOST)), Address.of(server, ""))
    with pytest.raises(OSError, match=r".+"):
        Admin.of(path).seen()
