"""docs/operations.md, from one server to two: the ten commands, word for word but for runs and ports."""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.served import until
from recserve.cli import main
from serving import processes
from serving.edge.admin import Admin
from serving.edge.bootstrap import FILE
from tests.pages import ROOT, blocks

pytestmark = [pytest.mark.production, pytest.mark.slow(60)]
PAGE = "docs/operations.md"
PORTS = ("8000", "8001", "8002", "8003", "8004", "9901")
STAY = ("serve", "edge --servers")
RUN = re.compile(r"runs/\S+")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as one:
        yield one


def lines(part: str) -> list[str]:
    """Of the block that has it."""
    (block,) = (block for block in blocks(PAGE) if part in block.text)
    return block.text.splitlines()


def here(line: str) -> list[str]:
    """The words, of a release that needs no run, on ports that are free, with the address of the edge's own port."""
    line = RUN.sub("tests.conftest:lrea", line)
    if "edge --servers" in line:
        line += " --listen 127.0.0.1:8000 --admin 127.0.0.1:9901"
    for port, free in FREE.items():
        line = re.sub(rf"\b{port}\b", free, line)
    return shlex.split(line)


FREE = dict(zip(PORTS, map(str, processes.available_ports([("127.0.0.1", 0)] * len(PORTS))), strict=True))


def background(stack: ExitStack, command: list[str], folder: Path) -> None:
    """Starts it, and returns when it says that it is ready."""
    said = folder / f"{time.monotonic_ns()}.txt"
    with said.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=folder, stdout=out, stderr=out)
    stack.callback(process.wait, 60.0)
    stack.callback(process.terminate)
    until(lambda: "ready: gRPC" in said.read_text() or process.poll() is not None)
    assert process.poll() is None, said.read_text()


def test_from_one_server_to_two_in_ten_commands(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ten = lines("recserve edge --servers")
    assert len(ten) == 10
    printed = ""
    for line in ten:
        command = here(line)
        if line.removeprefix("recserve ").startswith(STAY):
            background(stack, command, tmp_path)
            continue
        # In this process, which has imported what each would import for seconds.
        code = main(command[1:])
        printed, said = capsys.readouterr()
        assert code == 0, f"{line}: {printed}{said}"
    shares = re.findall(r"│ *\d+ │ (\d\.\d{4}) │ yes ", printed)
    assert shares == ["0.9000", "0.1000", "1.0000"], printed
    written, ask = lines("canary.headers")
    subprocess.run(written, shell=True, check=True)
    assert main(here(ask)[1:]) == 0, capsys.readouterr().err
    assert Admin.of(tmp_path / "edge" / FILE).counted("cluster.release-canary.upstream_rq_completed")
    Path("canary.headers").write_text("x-release: cannery")
    assert main(here(ask)[1:]) == 2
    assert "it has canary; name one that it has, or leave the header out" in capsys.readouterr().err
