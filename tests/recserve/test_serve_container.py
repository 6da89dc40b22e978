"""`recserve serve --target gpu`: the container's command line, printed and run.

There is no GPU and no container engine here: a script stands for the engine, which notes its words and, where a test
says so, runs a server that answers.
"""

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from loadtest.served import Served, until
from recserve.cli import main
from serving.command import IMAGE, Container, container_command
from serving.server import ServerOptions, TritonServer
from tests.serving import models


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    models.publish_scaled(tmp_path / "models")
    scaled = tmp_path / "models" / "scaled"
    (scaled / "config.pbtxt").write_text((scaled / "configs" / "cpu.pbtxt").read_text())
    return tmp_path / "models"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def engine(folder: Path, name: str, script: str) -> Path:
    """A program of that name; the file in which it notes its words."""
    noted = folder / "noted.json"
    program = folder / name
    program.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys, time\n"
        f"pathlib.Path({str(noted)!r}).write_text(json.dumps(sys.argv[1:]))\n{script}\n"
    )
    program.chmod(0o755)
    return noted


def test_without_an_engine_the_line_is_printed_and_what_is_missing(
    bare: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--target", "gpu", "--repository", str(repository)]) == 1
    out, err = capsys.readouterr()
    words = shlex.split(out.splitlines()[0])
    assert words[:2] == ["docker", "run"]
    assert f"--volume={repository}:/models:ro" in words
    assert IMAGE in words
    assert "neither docker nor podman is on PATH; run this command where one is" in err, "never the bare line"


@pytest.mark.parametrize(("name", "gpus"), [("docker", "--gpus=all"), ("podman", "--device=nvidia.com/gpu=all")])
def test_an_engine_is_run_and_its_end_is_an_error(
    name: str, gpus: str, bare: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = engine(bare, name, "sys.exit(125)")
    words = ["serve", "--target", "gpu", "--image", "ours:1", "--grpc-port", "9011", "--repository", str(repository)]
    assert main(words) == 1
    run = json.loads(noted.read_text())
    assert {gpus, "ours:1", "tritonserver", "--publish=127.0.0.1:9011:8001"} <= set(run)
    assert (repository.parent / "models.state").is_dir(), "the engine would make it as root"
    assert f"{name} ended with 125" in capsys.readouterr().err


def test_a_damaged_file_is_found_before_anything_starts(
    bare: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = engine(bare, "docker", "")
    (repository / "scaled" / "1" / "model.onnx").write_bytes(b"nothing")
    assert main(["serve", "--target", "gpu", "--repository", str(repository)]) == 2
    assert "model.onnx is not what was published" in capsys.readouterr().err
    assert not noted.exists()


def test_a_key_that_is_kept_is_not_printed(
    bare: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = engine(bare, "docker", "sys.exit(1)")
    file = tmp_path / "admin.key"
    assert main(["serve", "--target", "gpu", "--admin-key-file", str(file), "--repository", str(repository)]) == 1
    key = file.read_text().strip()
    assert any(word.endswith(f":admin-key={key}") for word in json.loads(noted.read_text()))
    out, err = capsys.readouterr()
    assert key not in out + err
    assert f"admin-key=$(cat {file})" in out


def test_a_store_elsewhere_is_named_and_one_here_is_mounted(repository: Path) -> None:
    words = container_command(
        Container(repository=repository, state="valkey://states:6379/0", histories="lmdb:///var/histories")
    )
    assert "--env=RECSERVE_STATE=valkey://states:6379/0" in words
    assert "--env=RECSERVE_HISTORIES=lmdb:///histories" in words
    assert "--volume=/var/histories:/histories" in words
    assert not [word for word in words if word.endswith(":/state")]


@pytest.mark.parametrize(("uid", "user"), [(0, "10001:10001"), (1234, "1234:1234")])
def test_the_container_is_never_root(
    uid: int, user: str, repository: Path, tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(os, "getgid", lambda: uid)
    monkeypatch.setattr(os, "chown", lambda path, *owner: handed.update({Path(path).name: owner}))
    (tmp_path / "models.state").mkdir()
    (tmp_path / "models.state" / "data.mdb").touch()
    noted = engine(bare, "docker", "sys.exit(125)")
    assert main(["serve", "--target", "gpu", "--repository", str(repository)]) == 1
    assert f"--user={user}" in json.loads(noted.read_text())
    kept = {"models.state", "data.mdb", "models.histories"}
    assert handed == (dict.fromkeys(kept, (10001, 10001)) if uid == 0 else {})


@pytest.mark.parametrize(("option", "value"), [("--follow", None), ("--grpc-port", "0"), ("--metrics-port", "0")])
def test_what_a_container_cannot_is_refused(
    option: str, value: str | None, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "--target", "gpu", "--repository", str(repository), option, *([value] if value else [])]
    assert main(words) == 2
    assert option in capsys.readouterr().err


@pytest.mark.triton_server
def test_it_is_ready_once_the_goldens_are_right_and_stops_with_the_container(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel's server stands for the container's; it listens where the container would be published."""
    (tmp_path / "bin").mkdir()
    engine(tmp_path / "bin", "docker", "time.sleep(600)")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with TritonServer(repository, ServerOptions()) as server:
        port = server.url.rpartition(":")[2]
        options = ["--target", "gpu", "--grpc-port", port, "--metrics-port", "8002", "--drain-s", "0"]
        with Served(repository, *options) as serve:
            serve.says(f"ready: gRPC 127.0.0.1:{port}")
            assert serve.ends(signal.SIGTERM) == 0
        with Served(repository, *options) as serve:
            serve.says("ready: gRPC")
            (child,) = _children(serve.process.pid)
            os.kill(int(child), signal.SIGKILL)
            assert serve.ends() == 1
            assert "the container ended with -9" in serve.said
    until(lambda: not _children(serve.process.pid))


def _children(parent: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(stat.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
