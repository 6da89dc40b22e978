"""`recserve serve` with mutual TLS, by the certificates of docs/operations.md, and every command that asks it."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import trustme

from export.artifacts import Source
from export.repository import publish
from loadtest.served import Served, command, until
from loadtest.transports import transport
from recserve.cli import main
from recserve_client import AsyncClient, Tls, TlsMismatch
from tests.production.certificates import by_the_book, issued
from tests.recserve.releases import SKUS, registered, released

pytestmark = [pytest.mark.production, pytest.mark.slow(40)]
Captured = pytest.CaptureFixture[str]
USER = "anna3"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with FM in versions 1 and 2 and user_events, `certificates`, and the data set plain."""
    with registered(tmp_path_factory.mktemp("tls")) as root:
        for _ in range(2):
            publish(root / "models", released("fm", "plain", dim=8), Source(kind="factory", name="a test"))
        by_the_book(root)
        assert main(["events", "load", "plain", "--repository", str(root / "models")]) == 0
        yield root


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[Served]:
    with Served(root / "models", "--tls", root / "certificates", "--follow", "--drain-s", 0) as one:
        assert one.address.url
        yield one


@pytest.fixture
def run(root: Path, served: Served, capsys: Captured) -> Any:
    """What a command says to a program, with the address and the certificates of the server."""

    def said(*words: object, code: int = 0) -> Any:
        capsys.readouterr()
        where = ["--url", served.address.url, "--tls", str(root / "certificates"), "--json"]
        assert main([*map(str, words), *where]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return said


def test_it_says_who_is_let_in(served: Served) -> None:
    assert "(TLS as localhost, 127.0.0.1; clients need a certificate of " in served.said
    flags = command(served.server)
    assert {"--grpc-use-ssl=1", "--grpc-use-ssl-mutual=1"} <= {*flags}
    assert "--metrics-address=127.0.0.1" in flags


def test_a_question_and_events_reach_it(run: Any, root: Path, tmp_path: Path) -> None:
    assert run("ask", "fm", "--user", USER, "--top", 3)["model"] == "fm"
    last = pl.read_parquet(root / "plain" / "events.parquet")["at"].to_numpy().max()
    new = {"customer": [USER] * 2, "sku": SKUS[:2], "at": [last + 60, last + 120], "liked": [1, 1]}
    pl.DataFrame(new).write_parquet(tmp_path / "new.parquet")
    assert run("events", "push", tmp_path / "new.parquet", "--dataset", "plain")["counts"] == {"applied": 2}


def test_releases_are_promoted_rolled_back_and_pruned(run: Any, root: Path, served: Served) -> None:
    repository = "--repository", root / "models"
    assert run("releases", "rollback", "fm@1", *repository)["server"] == served.address.url
    assert run("releases", "promote", "fm@2", *repository)["server"] == served.address.url
    assert run("releases", "prune", *repository, "--keep", 1)["removed"] == [], "the server has both"


def test_a_restart_asks_its_goldens_again(run: Any, served: Served, root: Path) -> None:
    os.kill(served.server, signal.SIGKILL)
    served.says("restart 1: ready again")
    with served.client(tls=Tls.folder(root / "certificates")) as client:
        # What was promoted a moment before it may not have noted as served.
        until(lambda: "2" in client.metadata("fm").versions)
    assert run("ask", "fm", "--user", USER, "--top", 3)["model"] == "fm"


def test_who_shows_no_certificate_of_the_authority_is_not_let_in(root: Path, served: Served, tmp_path: Path) -> None:
    book = root / "certificates"
    other = issued(tmp_path / "other", "client", authority=trustme.CA())
    for tls in (None, Tls(book / "ca.crt"), Tls(book / "ca.crt", other / "server.crt", other / "server.key")):
        with served.client(5.0, tls=tls) as client, pytest.raises(TlsMismatch):
            client.metadata("fm")


def test_a_server_that_cannot_be_asked_is_not_taken_for_none(root: Path, served: Served, capsys: Captured) -> None:
    for words in (["promote", "fm@2"], ["prune"]):
        capsys.readouterr()
        where = ["--repository", str(root / "models"), "--url", served.address.url]
        assert main(["releases", *words, *where]) == 2
        assert "does it speak TLS" in capsys.readouterr().err


def test_the_asynchronous_client_names_the_certificate_that_it_expects(root: Path, served: Served) -> None:
    async def versions(tls: Tls) -> tuple[str, ...]:
        async with AsyncClient(served.address.url, tls=tls, retries=0, deadline_s=30.0) as client:
            return (await client.metadata("fm")).versions

    own = Tls.folder(root / "certificates")
    assert "2" in asyncio.run(versions(own._replace(name="localhost")))
    with pytest.raises(TlsMismatch, match=r"verification check.* do Tls.* fit it"):
        asyncio.run(versions(own._replace(name="another.example")))


def test_the_users_of_locust_speak_tls(root: Path, served: Served) -> None:
    connection = transport("recserve", str(root / "certificates"))(served.address.url)
    asked = {"user_id": [[USER]], "candidates": [SKUS[:2]]}
    inputs = {name: np.array(value, object if name == "user_id" else None) for name, value in asked.items()}
    assert connection.infer("fm", inputs)
    connection.close()


def test_without_an_authority_clients_need_no_certificate(root: Path, tmp_path: Path) -> None:
    """The server asks itself nevertheless, also at an address that the certificate is not of."""
    folder = issued(tmp_path / "server", "ranker.shop.example")
    shutil.copy(folder / "server.crt", tmp_path / "ca.crt")
    with Served(root / "models", "--tls", folder, "--host", "0.0.0.0", "--drain-s", 0) as one:
        tls = Tls.folder(tmp_path)._replace(name="ranker.shop.example")
        with one.client(tls=tls) as client:
            assert client.server_ready()
        assert "(from everywhere, TLS as ranker.shop.example)" in one.said
        assert one.address.url.startswith("127.0.0.1:")
