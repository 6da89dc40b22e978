"""Pages run as they are written: files are written, commands run, the server that a page starts answers its clients.

Word for word, except that `train` takes one epoch, the ports are free ones and `serve` runs beside the rest; the other
commands run in this process, which has imported what each would import for seconds.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from recserve.cli import main
from tests.command_line import options_of
from tests.pages import PAGES, ROOT, Block, blocks

RECSERVE = str(Path(sys.executable).with_name("recserve"))
DEFAULT_URL = "127.0.0.1:8001"
RUN = [page for page in PAGES if any(block.label == "run" for block in blocks(page))]
SLOW = {"README.md", "docs/your-own-data.md"}
OF_PUBLIC_FILES = {"docs/your-own-data.md"}
_PRINTS = re.compile(r'# prints "([^"]+)"')


class Folder:
    """Where one page runs, and this process with it."""

    def __init__(self, path: Path, servers: ExitStack, printed: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.printed = printed
        self.url = DEFAULT_URL
        self._servers = servers

    def take(self, block: Block) -> None:
        """Writes or runs a block; one that is only checked leaves no trace."""
        match block.kind, block.label:
            case "sh", "run":
                for line in block.text.splitlines():
                    self._command(line)
            case "python", "run":
                self._run([sys.executable, "-c", block.text.replace(DEFAULT_URL, self.url)], block.text)
            case _, name if "." in name:
                (self.path / name).write_text(block.text)

    def _command(self, line: str) -> None:
        program, command, *words = shlex.split(line, comments=True)
        if program == "python":
            self._run([sys.executable, str(ROOT / command), *words], line)
            return
        assert program == "recserve"
        if command == "serve":
            self.url = self._servers.enter_context(_serving(words, self.path))
            return
        more = ["--max-epochs", "1"] if command == "train" else []
        if command != "train" and "--url" in options_of(command):
            more = ["--url", self.url]
        self.printed.readouterr()
        code = main([command, *words, *more])
        said = self.printed.readouterr()
        self._check(line, code, said.out, said.err)

    def _run(self, command: Sequence[str], written: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        self._check(written, done.returncode, done.stdout, done.stderr)

    def _check(self, written: str, code: int, out: str, err: str) -> None:
        assert code == 0, f"{written}: {out[-2000:]}{err[-2000:]}"
        for expected in _PRINTS.findall(written):
            assert expected in out, f"{written}: {out[-2000:]}"


@contextmanager
def _serving(words: Sequence[str], folder: Path) -> Iterator[str]:
    """`recserve serve` on free ports; its address, and it stops in order."""
    server = subprocess.Popen(
        [RECSERVE, "serve", *words, "--grpc-port", "0", "--metrics-port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "300"},
    )
    try:
        assert server.stdout is not None
        ready = re.search(r"gRPC ([\d.:]+)", server.stdout.readline())
        assert ready is not None
        yield ready[1]
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0


@pytest.mark.slow(105)
@pytest.mark.triton_server
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [], id=page) for page in RUN]
)
def test_a_page_runs_as_written(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if page in OF_PUBLIC_FILES and "RECSERVE_DATA" not in os.environ:
        pytest.skip("RECSERVE_DATA does not say where the public files are")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with ExitStack() as servers:
        folder = Folder(tmp_path, servers, capsys)
        for block in blocks(page):
            folder.take(block)


def test_what_is_promised_to_run_is_run() -> None:
    assert {"README.md", "docs/bring-your-own-model.md", "docs/your-own-data.md"} <= set(RUN)
