"""docs/examples/ci, a team's repository with two models of its own: its steps of CI, out of the workflow files.

A line of a step is run as it is written, `recserve` within this process, which has imported torch already.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from recserve.cli import main
from tests.pages import ROOT

pytestmark = [pytest.mark.slow(26), pytest.mark.triton_server]
EXAMPLE = ROOT / "docs" / "examples" / "ci"
NOT_RUN = "make install"
"""The environment of the tests stands for the one that it makes."""
STEPS = ["install", "export", "lint", "parity", "quality", "load"]
SHORT = {"LOAD_S": "1", "P99_MS": "60000"}
"""Makefile variables; a machine that is busy elsewhere keeps this budget."""


class Done(NamedTuple):
    """What a step came to."""

    code: int
    said: str


def github() -> dict[str, Any]:
    """The job."""
    return yaml.safe_load((EXAMPLE / ".github" / "workflows" / "recserve.yml").read_text())["jobs"]["models"]


def gitlab() -> dict[str, Any]:
    """The job."""
    return yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text())["recserve"]


def run(line: str, folder: Path) -> Done:
    """A line of a workflow file; stops at the first command of its step that fails, as make does."""
    said = io.StringIO()
    for command in _make(["--dry-run", *shlex.split(line)[1:]], folder).stdout.splitlines():
        program, *words = shlex.split(command)
        if program == ".venv/bin/recserve":
            code = _recserve(words, folder, said)
        else:
            done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)
            said.write(done.stdout + done.stderr)
            code = done.returncode
        if code:
            return Done(code, said.getvalue())
    return Done(0, said.getvalue())


def _recserve(words: list[str], folder: Path, said: io.StringIO) -> int:
    """The team's modules are imported anew each time, as a new process would."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setenv("COLUMNS", "300")
        code = main(words)
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]
    return code


def _make(words: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    # Not those of the make that may have started the tests.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = {**own, **SHORT}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def rebased(folder: Path, factor: float) -> None:
    """The baseline of the load test with other ratios, and the budget of SHORT."""
    path = folder / "ci" / "load.json"
    result = json.loads(path.read_text())
    result["sweep"]["p99_budget_ms"] = float(SHORT["P99_MS"])
    for one in result["runs"]:
        one["over_floor"]["p50"] *= factor
        one["cpu_seconds_per_1000"] *= factor
    path.write_text(json.dumps(result))


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a team", "-c", "user.email=team@example.com"]
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's repository as its CI finds it, but for a baseline that a busy machine meets."""
    folder = tmp_path_factory.mktemp("team") / "checkout"
    listed = _git(EXAMPLE, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE / name, folder / name)
    rebased(folder, 1000.0)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".git" / "info").mkdir(parents=True)
    _git(folder, "init", "--quiet")
    (folder / ".git" / "info" / "exclude").write_text(".venv\n")  # a link here, where the install step makes a folder
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "two models")
    return folder


@pytest.fixture(scope="module")
def walked(checkout: Path) -> Path:
    """After every step but the one that is not run."""
    for line in gitlab()["script"]:
        done = Done(0, "") if line == NOT_RUN else run(line, checkout)
        assert done.code == 0, f"{line}: {done.said}"
    return checkout


@pytest.fixture
def other(walked: Path, tmp_path: Path) -> Path:
    """A copy of the checkout, for a test to break."""
    return Path(shutil.copytree(walked, tmp_path / "checkout", symlinks=True))


def test_both_services_run_the_same_steps_in_one_order_in_the_same_image() -> None:
    steps = [step for step in github()["steps"] if "run" in step]
    assert [step["run"] for step in steps] == gitlab()["script"] == [f"make {name}" for name in STEPS]
    assert [step["name"] for step in steps] == STEPS
    assert github()["container"] == gitlab()["image"]


def test_both_services_keep_the_reports_of_a_step_that_failed_and_the_packages_of_pip() -> None:
    uses = {step["uses"].partition("@")[0]: step for step in github()["steps"] if "uses" in step}
    kept = uses["actions/upload-artifact"]
    assert (kept["if"], kept["with"]["path"]) == ("always()", "reports/")
    assert (gitlab()["artifacts"]["when"], gitlab()["artifacts"]["paths"]) == ("always", ["reports/"])
    assert uses["actions/cache"]["with"]["path"] + "/" == gitlab()["cache"]["paths"][0] == ".cache/pip/"
    assert "PIP_CACHE_DIR := $(CURDIR)/.cache/pip" in (EXAMPLE / "Makefile").read_text()


def test_standard_error_holds_nothing_where_all_is_well(walked: Path) -> None:
    done = _make(["quality"], walked)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_steps_leave_what_the_files_keep_and_nothing_to_commit(walked: Path) -> None:
    for name in [*gitlab()["artifacts"]["paths"], *gitlab()["artifacts"]["reports"].values()]:
        assert (walked / name).exists()
    (suite,) = ElementTree.parse(walked / gitlab()["artifacts"]["reports"]["junit"]).getroot()
    rungs = {(case.get("classname"), case.get("name")) for case in suite}
    assert rungs == {(model, rung) for model in ("two_tower", "topics") for rung in ("export", "served", "concurrent")}
    (page,) = (walked / "reports" / "load").glob("*.html")
    assert "<h1>Load test: two_tower" in page.read_text()
    (result,) = (walked / "reports" / "load").glob("*.json")
    assert "golden requests of the release" in json.loads(result.read_text())["traffic"]["distribution"]
    assert json.loads((walked / "reports" / "quality.json").read_text()).keys() == {"two_tower", "topics"}
    assert _git(walked, "status", "--porcelain") == ""


def test_a_forward_that_mixes_requests_fails_the_export(other: Path) -> None:
    module = other / "shop" / "two_tower.py"
    module.write_text(module.read_text().replace(".sum(-1)", ".sum(-1).softmax(0)"))
    done = run("make export", other)
    assert done.code == 2
    assert "a request alone and the same request in a batch get different answers" in done.said
    assert not (other / "reports").exists(), "reports of an earlier export"


def test_a_weight_that_changed_after_the_export_fails_the_lint_and_the_ladder(other: Path) -> None:
    graph = other / "models" / "topics" / "1" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    done = run("make lint", other)
    assert done.code == 1
    assert "topics/1" in done.said
    done = run("make parity", other)
    assert done.code == 2
    assert "topics/1/model.onnx is not what was published" in done.said
    (suite,) = ElementTree.parse(other / "reports" / "parity.xml").getroot()
    assert suite.get("errors") == "1"


def test_a_model_that_got_worse_fails_the_gate_of_quality(other: Path) -> None:
    weights = other / "weights" / "topics.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "words.weight": np.roll(tensors["words.weight"], 1, axis=0)}, weights)
    assert run("make export", other).code == 0
    done = _make(["quality"], other)
    assert done.returncode == 2, "make's own code for a step that failed"
    assert "gate failed: topics.accuracy WORSE (0." in done.stdout
    assert "topics.log_loss WORSE" in done.stdout
    assert "two_tower.mrr WORSE" not in done.stdout


def test_the_gate_of_runs_sends_a_model_of_no_run_to_the_gate_of_own_figures(walked: Path) -> None:
    said = io.StringIO()
    words = ["releases", "publish", "shop.topics:topics", "--repository", "models", "--not-worse-than", "served"]
    assert _recserve(words, walked, said) == 2
    assert "is of no run, so it has no metrics" in said.getvalue()
    assert "compare figures of your own by recserve gate" in said.getvalue()


def test_a_model_slower_than_its_baseline_fails_the_load_test_and_leaves_its_page(other: Path) -> None:
    rebased(other, 1e-6)
    shutil.rmtree(other / "reports")
    done = run("make load", other)
    assert done.code == 1
    assert "gate failed: open-100.over_floor.p50 WORSE (" in done.said
    assert len([*(other / "reports" / "load").glob("*.html")]) == 1
