"""Headers of commands that ask a server: out of a file, and sent with each call that such a command makes."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from loadtest.live.valkey_server import valkey_server
from loadtest.transports import transport
from recserve.cli import main
from recserve_client.errors import InvalidRequest, NotAuthenticated
from tests.command_line import all_paths, options_of
from tests.recserve.releases import registered

Captured = pytest.CaptureFixture[str]
RIGHT = ("authorization", "Bearer right")


class Doorman(grpc.GenericRpcHandler):
    """Refuses all calls, those with the token in another way."""

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        def refuse(_: bytes, context: grpc.ServicerContext) -> None:
            if RIGHT in context.invocation_metadata():
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the token is right")
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Jwt is missing")

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where a doorman stands."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Doorman()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository `models`, `events.csv` of the data set plain, and the file `right` of the header."""
    with registered(tmp_path_factory.mktemp("connected")) as folder:
        shutil.copytree(repository, folder / "models")
        (folder / "events.csv").write_text("user,item,time\nanna3,7,1700000000\n")
        (folder / "right").touch(0o600)
        (folder / "right").write_text(": ".join(RIGHT))
        yield folder


def said(capsys: Captured, url: str, *words: object) -> str:
    """The error of a command."""
    capsys.readouterr()
    assert main([*map(str, words), "--url", url]) == 2
    return capsys.readouterr().err


def published(folder: Path) -> list[Path]:
    """What the repository has; bytecode comes and goes."""
    return sorted(path for path in (folder / "models").rglob("[!.]*") if "__pycache__" not in path.parts)


@pytest.mark.parametrize(
    "words",
    [
        "ask lrea --user 1",
        "events push {folder}/events.csv --dataset plain",
        "releases promote lrea --repository {folder}/models",
        "releases prune --repository {folder}/models",
    ],
)
def test_a_command_sends_what_the_file_says_and_asks_for_it_where_it_lacks(
    words: str, url: str, folder: Path, capsys: Captured
) -> None:
    command = words.format(folder=folder).split()
    before = published(folder)
    assert "Jwt is missing; send a valid token, as the header authorization: " in said(capsys, url, *command)
    assert "which commands read from --headers FILE" in said(capsys, url, *command)
    assert "the token is right" in said(capsys, url, *command, "--headers", folder / "right")
    assert published(folder) == before


def test_a_command_that_follows_sends_it_too(url: str, folder: Path, tmp_path: Path, capsys: Captured) -> None:
    with valkey_server(tmp_path / "valkey") as valkey:
        valkey.client().xadd("events", {"user": "anna3", "item": "7", "time": "1700000000"})
        words = ["events", "follow", f"{valkey.url}/events", "--dataset", "plain", "--once"]
        assert "the token is right" in said(capsys, url, *words, "--headers", folder / "right")


def test_every_command_that_asks_at_a_url_can_be_told_how() -> None:
    asking = [path for path in all_paths() if "--url" in options_of(*path)]
    assert len(asking) >= 6
    assert [path for path in asking if not {"--tls", "--headers"} <= options_of(*path)] == []


def test_the_users_of_locust_send_it(url: str, folder: Path) -> None:
    for headers, error in (("", NotAuthenticated), (str(folder / "right"), InvalidRequest)):
        connection = transport("recserve", headers=headers)(url)
        with pytest.raises(error):
            connection.infer("lrea", {})
        connection.close()


def test_a_file_that_is_wrong_is_named_with_the_option(url: str, folder: Path, capsys: Captured) -> None:
    assert "--headers /nope cannot be read: No such file" in said(capsys, url, "ask", "lrea", "--headers", "/nope")
    (folder / "open").write_text(": ".join(RIGHT))
    (folder / "open").chmod(0o644)
    line = said(capsys, url, "ask", "lrea", "--headers", folder / "open")
    assert "holds the header authorization and can be read by others; chmod 600 it" in line
    assert "right" not in line
