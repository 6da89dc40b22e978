"""The README's table is generated, and its examples run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import published as load
from recserve.commands.systems import markdown
from recserve.studies import published as studies
from recserve.studies import robustness

README = (Path(__file__).parents[1] / "README.md").read_text()
RECSERVE = Path(sys.executable).with_name("recserve")


def block(kind: str) -> str:
    """The first fenced block that opens with this line."""
    found = re.search(rf"^```{re.escape(kind)}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the README has no block '{kind}'"
    return found[1]


def recserve(*words: str, cwd: Path) -> str:
    done = subprocess.run([RECSERVE, *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"recserve {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_the_table_of_systems_is_the_generated_one() -> None:
    table = README.split("<!-- systems -->\n")[1].split("\n<!-- /systems -->")[0]
    assert table == markdown()


def test_the_tables_of_latency_are_those_of_the_committed_results() -> None:
    tables = README.split("<!-- load -->\n")[1].split("\n<!-- /load -->")[0]
    assert tables == f"{studies.length_markdown()}\n\n{load.peers_markdown()}"


def test_the_table_of_faults_is_that_of_the_committed_results() -> None:
    table = README.split("<!-- faults -->\n")[1].split("\n<!-- /faults -->")[0]
    assert table == load.faults_markdown(), "write it anew with loadtest.published.faults_markdown()"


def test_the_tables_of_paths_are_those_of_the_committed_results() -> None:
    tables = README.split("<!-- paths -->\n")[1].split("\n<!-- /paths -->")[0]
    assert tables == f"{robustness.markdown()}\n\n{studies.paths_markdown()}"


def test_the_tables_of_generation_are_those_of_the_committed_results() -> None:
    tables = README.split("<!-- generation -->\n")[1].split("\n<!-- /generation -->")[0]
    assert tables == studies.generation_markdown()


@pytest.mark.triton_server
def test_the_readers_own_model_is_exported_checked_and_proven(tmp_path: Path) -> None:
    (tmp_path / "two_towers.py").write_text(block("python two_towers.py"))
    recserve("export", "two_towers:two_towers", "--repository", "my_models", cwd=tmp_path)
    assert "nothing to complain about" in recserve("export", "--check", "my_models", cwd=tmp_path)
    assert "all rungs hold" in recserve("parity", "--repository", "my_models", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.triton_server
def test_the_pipeline_by_hand_runs_as_written(tmp_path: Path) -> None:
    """Word for word, except that it trains for one epoch, the ports are free ones and the server runs beside."""
    pipeline = README.split("## The pipeline by hand")[1].split("```")[1]
    commands = [line.split()[1:] for line in pipeline.splitlines() if line.startswith("recserve ")]
    *prepare, serve, rank = commands
    assert (serve[0], rank[0]) == ("serve", "rank")
    for words in prepare:
        recserve(*words, *(["--max-epochs", "1"] if words[0] == "train" else []), cwd=tmp_path)
    server = subprocess.Popen(
        [RECSERVE, *serve, "--grpc-port", "0", "--metrics-port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "300"},
    )
    try:
        assert server.stdout is not None
        ready = re.search(r"gRPC ([\d.:]+)", server.stdout.readline())
        assert ready is not None
        printed = recserve(*rank, "--url", ready[1], cwd=tmp_path)
        assert "best unseen titles" in printed
        assert re.findall(r"^│ +(\d+) │", printed, re.MULTILINE) == [str(place) for place in range(1, 11)]
        code = block("python client").replace("127.0.0.1:8001", ready[1])
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert len(re.findall(r"0\.\d+", answer)) == 4
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
