"""What `recserve serve` is told wrong: one line that names the option, exit code 2, and nothing is started."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve.cli import main
from serving.runtime import cache
from tests.serving import models

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    models.publish_scaled(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port where somebody listens."""
    with socket.socket() as listens:
        listens.bind(("127.0.0.1", 0))
        listens.listen()
        yield listens.getsockname()[1]


def refused(capsys: Captured, repository: Path, *words: object) -> str:
    """The line; the ports are free ones where the words say nothing else."""
    before = {*(cache() / "logs").glob("*")}
    ports = ["--grpc-port", "0", "--metrics-port", "0"]
    assert main(["serve", "--repository", str(repository), *ports, *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == "", "nothing is told before it is checked"
    assert err.count("\n") == 1
    assert {*(cache() / "logs").glob("*")} == before, "no server was started"
    return err


STORES = {
    "--state foo://x": "--state: 'foo:' names no state store that can be opened; write lmdb:///",
    "--state valkey://h:1/0?ttl=3": "--state: there is no parameter 'ttl'; .*ttl_s=N says for how long",
    "--state valkey://h:1/0?ttl_s=soon": "--state: ttl_s=soon in the URL of the state store is no number",
    "--state lmdb:///tmp/x?max=3": "--state: 'lmdb:' with the parameter 'max' names no state store",
    "--state lmdb:///tmp/x?max_bytes=3": "--state: max_bytes=3 in the URL of the state store is no number of at least",
    "--state valkey://h:none/0": "--state: the URL of a Valkey is valkey://",
    "--histories redis://x": "--histories: 'redis:' names no store of histories; write lmdb:///",
    "--histories valkey://h:1/0?ttl_s=3": "--histories: there is no parameter 'ttl_s'",
}
ALONE = {
    "--request-log-rate 0.5": "--request-log-rate is of no use without --request-log; give --request-log DIR",
    "--request-log-mib 5": "--request-log-mib is of no use without --request-log",
    "--request-log-ids raw": "--request-log-ids is of no use without --request-log",
    "--trace-rate 5": "--trace-rate is of no use without --traces; give --traces URL",
    "--image ours:1": "--image ours:1 is of the target gpu; give --target gpu",
    "--tls . --insecure": "--tls and --insecure contradict each other",
    "--backend native --traces http://h:1/v1": "--traces needs --backend python: the native backend",
    "--backend native --request-log /tmp/none": "--request-log needs --backend python: the native backend",
    "--target gpu --grpc-port 1 --metrics-port 2 --backend native": "--backend is of the target cpu",
    "--target gpu --grpc-port 1 --metrics-port 2 --max-restarts 3": "--max-restarts is of the target cpu",
    "--target gpu --grpc-port 1 --metrics-port 2 --state foo://x": "--state: 'foo:' names no state store",
}
PLACES = {
    "--host 192.0.2.1 --insecure": "--host 192.0.2.1: Cannot assign requested address; name an address of this machine",
    "--metrics-host nohost.invalid": "--metrics-host nohost.invalid: .*; name an address of this machine",
    "--grpc-port 8111 --ready-port 8111": "--grpc-port and --ready-port are both 8111; give each its own",
    "--metrics-port 8111 --ready-port 8111": "--metrics-port and --ready-port are both 8111; give each its own",
    "--grpc-port 8111 --metrics-port 8111": "--grpc-port and --metrics-port are both 8111; give each its own",
    "--ready-port 70000": "--ready-port is 70000; a port is between 1 and 65535",
    "--tls /nope": "--tls: there is no folder /nope; it holds server.crt",
    "--log /proc/none/log": "--log /proc/none/log: No such file or directory",
    "--log /tmp": "--log /tmp: Is a directory",
}


@pytest.mark.parametrize("words", [*STORES, *ALONE, *PLACES])
def test_what_is_wrong_is_named_before_anything_starts(words: str, capsys: Captured, repository: Path) -> None:
    text = (STORES | ALONE | PLACES)[words]
    assert re.match(f"error: {text}", refused(capsys, repository, *words.split()))


def test_a_native_backend_that_is_not_built_is_told_with_the_remedy(
    capsys: Captured, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path))
    said = refused(capsys, repository, "--backend", "native")
    assert re.match(
        r"error: the native backend is not built \(.*\): run make native, which needs g\+\+, or serve", said
    )


@pytest.mark.parametrize("option", ["--grpc-port", "--metrics-port", "--ready-port"])
def test_a_port_that_is_taken_is_told_alike(option: str, taken: int, capsys: Captured, repository: Path) -> None:
    said = refused(capsys, repository, option, taken)
    assert said == f"error: {option} {taken} on 127.0.0.1: Address already in use; name another port, or 0\n"


@pytest.mark.parametrize(
    "words", ["state show --state foo://x", "state build --state foo://x", "releases prune --keep 1 --state foo://x"]
)
def test_other_commands_name_it_too(words: str, capsys: Captured, repository: Path) -> None:
    assert main([*words.split(), "--repository", str(repository)]) == 2
    assert capsys.readouterr().err.startswith("error: --state: 'foo:' names no state store")


@pytest.mark.parametrize("words", ["drift scaled", "bench scaled", "releases golden scaled"])
def test_a_log_that_is_not_there_is_told_as_that(words: str, capsys: Captured, repository: Path) -> None:
    assert main([*words.split(), "--repository", str(repository), "--log", "/nope"]) == 2
    assert capsys.readouterr().err.startswith("error: --log: there is no folder /nope; recserve serve --request-log")
