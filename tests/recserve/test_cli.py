"""The command line as a person and as a script meet it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.served import Served, alive
from recserve.cli import main
from serving import golden
from serving.admin import Admin
from serving.state.builder import stamps
from training import checkpoint
from training.data.fetch import default_cache
from training.data.planted_clicks import planted_clicks
from training.fit import FitOptions
from training.registry import SYSTEMS

Captured = pytest.CaptureFixture[str]


def run_json(capsys: Captured, *words: object, code: int = 0) -> Any:
    """The JSON value that a command prints, and nothing else, on standard output."""
    assert main([*map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def recserve(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recserve", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("evaluate no/such/run", "no/such/run holds no run; recserve train SYSTEM makes one"),
        ("export no/such/run --repository /tmp/never", "no/such/run holds no run; recserve train SYSTEM makes one"),
        ("export", "say what to export and where: recserve export RUN --repository DIR"),
        ("export [/x]:factory --repository /tmp/never", "no module '[/x]'"),
        ("export --check no/such/folder", "no/such/folder is not a directory; name a model repository"),
        ("parity --repository no/such/folder", "no/such/folder holds no model; make one with recserve export"),
        ("parity --repository . --requests 10", "the concurrent rung needs --requests 200 or more"),
        ("serve --repository no/such/folder", "no/such/folder holds no model; make one with recserve export"),
        ("state build --repository no/such/folder", "no/such/folder has no user-state model: export one first"),
        ("train lrea --seeds 0", "--seeds is 0; it must be at least 1"),
        ("train lrea --seeds many", "--seeds: 'many' is not a whole number; see recserve train lrea --help"),
        ("train lrea --config.dim 7", "dim (7) must be a multiple of heads (2)"),
        ("train lrea --resume --overwrite", "--resume and --overwrite contradict each other; choose one"),
        (
            "train lrea --seedz 3",
            "there is no option --seedz; did you mean --seed or --seeds?; see recserve",
        ),
        (
            "train lrea --config.layout folded",
            "--config.layout: invalid choice: 'folded' (choose from 'factored',",
        ),
        ("train", f"recserve train needs one of {', '.join(SYSTEMS)}; it got nothing; see recserve train --help"),
        ("train lreo", "recserve train has no command 'lreo'; did you mean lrea?; see recserve train --help"),
        ("serve", "Missing from recserve serve: --repository PATH; see recserve serve --help"),
        ("ask lrea --user 1 --top 0", "--top is 0; it must be at least 1"),
        ("ask --user 1 --top", "--top: expected one argument; see recserve ask --help"),
        ("ask --user 1 --history 2", "--user and --history are both given; choose one"),
        ("ask --user 1 --set theta", "--set theta is no NAME=VALUE"),
        ("ask --user 1 --set theta=1 page=a theta=2", "--set theta is said twice"),
        ("evaluate one two", "nothing is expected where 'two' stands; see recserve evaluate --help"),
        ("evaluate", "Missing from recserve evaluate: FOLDER; see recserve evaluate --help"),
        ("stat show", "recserve has no command 'stat'; did you mean state?; see recserve --help"),
        ("nonsense", "recserve has no command 'nonsense'; there are demo, data, systems, train, evaluate,"),
        ("train lrea --dataset nowhere", "no data set is called 'nowhere'; there are: beauty, "),
        ("", "recserve needs one of demo, data, systems,"),
        (
            "releases pull s3://models/shop --repository /proc/none",
            "--repository /proc/none: No such file or directory; name",
        ),
        ("train lrea --dataset planted-clicks --runs /proc/none", "--runs /proc/none: No such file or directory; name"),
        ("study corp", "Missing from recserve study corp: SOURCE; see recserve study corp --help"),
    ],
)
def test_an_error_of_use_is_one_line_that_says_what_to_do(capsys: Captured, words: str, text: str) -> None:
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1
    assert text in printed.err


def test_a_run_that_has_not_finished_names_the_command_that_goes_on(capsys: Captured, tmp_path: Path) -> None:
    system, data = SYSTEMS["lrea"], planted_clicks()
    folder = tmp_path / "lrea" / "planted-clicks-0123abcd-s3"
    info = checkpoint.start_info(system, data, FitOptions(run=folder, seed=3, max_epochs=2))
    default = checkpoint.config_to_json(system.config())
    options = f"--runs {tmp_path} --dataset planted-clicks --seed 3 --max-epochs 2"
    for config, rest in ((default, ""), (default | {"dim": 8}, " and the --config options that it was started with")):
        checkpoint.save_run(folder, checkpoint.Run(info=info, config=config, schema=data.schema))
        assert main(["evaluate", str(folder)]) == 2
        said = f"{folder} has not finished; go on with recserve train lrea --resume {options}{rest}"
        assert capsys.readouterr().err == f"error: {said}\n"


def test_a_process_ends_with_the_code_and_without_a_traceback() -> None:
    result = recserve("parity", "--repository", "no/such/folder")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: no/such/folder holds no model")


LOOKED_AT = """
import sys
from recserve.__main__ import main
try:
    main()
finally:
    sys.stderr.write(" ".join(sys.modules))
"""


def imported_by(*words: str) -> tuple[str, set[str]]:
    """What a command prints, and the modules that its process has imported at its end."""
    result = subprocess.run([sys.executable, "-c", LOOKED_AT, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout, set(result.stderr.split())


def test_help_of_a_command_comes_without_what_only_training_needs() -> None:
    printed, imported = imported_by("ask", "--help")
    assert "Ask a served model:" in printed
    assert "torch" in imported
    assert not imported & {"lightning_fabric", "torch._dynamo"}, "two seconds of every command"


@pytest.mark.parametrize("words", ["", "data", "state", "kernels", "study", "study planted"])
def test_a_list_of_commands_reads_nothing_but_names(words: str) -> None:
    printed, imported = imported_by(*words.split(), "--help")
    assert "COMMAND --help lists its options." in printed
    assert "recserve.registry" in imported
    heavy = {"torch", "numpy", "polars", "matplotlib", "onnx", "onnxruntime", "locust", "tritonclient", "grpc", "lmdb"}
    assert not imported & heavy
    ours = {name for name in imported if name.startswith(("recserve.commands.", "recserve.studies."))}
    assert ours == {"recserve.commands.command", "recserve.studies.places"}


@pytest.mark.parametrize(
    ("words", "module"),
    [("state drop", "commands.state"), ("bench abuse", "commands.bench_abuse"), ("study corp", "studies.corp.command")],
)
def test_only_the_module_of_the_chosen_command_is_imported(words: str, module: str) -> None:
    _, imported = imported_by(*words.split(), "--help")
    ours = {name for name in imported if re.match(r"recserve\.(commands\.|studies\.\w+(\.command)?$)", name)}
    of_study = {module.removesuffix(".command")} if module.startswith("studies.") else set()
    expected = {"commands.command", "studies.places", module, *of_study}
    assert ours == {f"recserve.{one}" for one in expected}


def test_debug_shows_where_an_error_came_from() -> None:
    with pytest.raises(ValueError, match="holds no run"):
        main(["evaluate", "no/such/run", "--debug"])
    result = recserve("--debug", "evaluate", "no/such/run")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_states_are_built_shown_and_dropped(capsys: Captured, repository: Path, tmp_path: Path) -> None:
    where = ("--repository", repository, "--state", tmp_path / "state")
    built = run_json(capsys, "state", "build", *where)
    assert (built["written"], built["store"]) == (64, f"lmdb://{tmp_path}/state")
    assert not {*built["histories"]} - {"exported"}, "other tests may have loaded histories beside it, none pushed any"
    assert run_json(capsys, "state", "build", *where)["written"] == 0
    shown = run_json(capsys, "state", "show", "1", *where)
    assert (shown["user"], shown["outcome"]) == (1, "hit")
    assert [name for name, _ in shown["tensors"]] == ["keys", "values", "bias", "profile_share", "stamp"]
    ((model, stamp, versions, users),) = run_json(capsys, "state", "show", *where)["entries"]
    assert (model, versions, users) == ("lrea_state", [1], 64)
    assert stamp == stamps(repository / model)[1]
    assert main(["state", "drop", *map(str, where), "--model", "lrea_state", "--version", "2"]) == 2
    assert "has no version 2 of lrea_state with user states; it has 1" in capsys.readouterr().err
    assert run_json(capsys, "state", "drop", *where, "--model", "lrea_state", "--version", "1")["dropped"] == 64
    assert run_json(capsys, "state", "drop", *where)["dropped"] == 0
    assert run_json(capsys, "state", "show", "1", *where)["outcome"] == "miss"
    assert main(["state", "show", "999", *map(str, where)]) == 2
    assert "user_id 999: no history is stored for this user" in capsys.readouterr().err


def test_the_linter_passes_a_good_repository_and_fails_a_broken_one(
    capsys: Captured, repository: Path, broken: Path
) -> None:
    assert [one for one in run_json(capsys, "export", "--check", repository) if one["severity"] == "error"] == []
    (broken / "lrea_scorer" / "1" / "golden.safetensors").unlink()
    findings = run_json(capsys, "export", "--check", broken, code=1)
    assert any("golden.safetensors" in one["file"] + one["reason"] for one in findings if one["severity"] == "error")
    assert set(findings[0]) == {"severity", "file", "field", "reason", "remedy"}


@pytest.mark.triton_server
def test_a_model_of_ones_own_is_exported_in_one_command(capsys: Captured, tmp_path: Path) -> None:
    repository = tmp_path / "own"
    answer = run_json(capsys, "export", "tests.export.models:release", "--repository", repository)
    assert answer["version"] == 1
    assert {path.name for path in repository.iterdir()} == set(answer["models"])


@pytest.mark.triton_server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_when_it_is_ready_and_stops_cleanly(
    repository: Path, tmp_path: Path, number: signal.Signals
) -> None:
    options = ("--state", tmp_path / "state", "--log", tmp_path / "log", "--drain-s", 0.1)
    with Served(Path(shutil.copytree(repository, tmp_path / "repository")), *options) as serve:
        one = golden.read(repository / "lrea" / "1" / "golden.safetensors")[0]
        with serve.client() as client:
            answer = client.infer("lrea", one.inputs)
        assert golden.compare(one.outputs, answer, 1e-5).ok
        processes = serve.processes
        assert serve.memory
        assert serve.ends(number) == 0, serve.said
        assert "ready: gRPC 127.0.0.1:" in serve.said
        assert serve.said.endswith("stopped\n")
        assert not any(map(alive, processes))
        assert not serve.memory


@pytest.fixture
def movielens() -> None:
    """The true set, without fetching it for these tests."""
    if not (default_cache() / "ml-100k").is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip("MovieLens-100k is not here: recserve data fetch ml-100k")


@pytest.mark.slow
@pytest.mark.usefixtures("movielens")
def test_a_run_is_trained_read_back_and_measured_again(capsys: Captured, tmp_path: Path) -> None:
    words = ["train", "mean_pooling", "--runs", tmp_path, "--max-epochs", "1"]
    words += ["--config.dim", "4", "--config.max-length", "8"]
    trained = run_json(capsys, *words)
    (run,) = trained["runs"]
    assert Path(run).parent == tmp_path / "mean_pooling"
    assert Path(run).name.startswith("ml-100k-")
    assert 0.5 < trained["test"]["auc"]["mean"] < 1.0
    assert main([*map(str, words)]) == 2
    said = capsys.readouterr().err
    assert "holds a run already; go on with --resume, start again with --overwrite, or train another one" in said
    assert "with --seed or --runs" in said
    assert main([*map(str, words), "--resume", "--max-epochs", "2"]) == 2
    said = capsys.readouterr().err
    assert "was started with --max-epochs 1; resume it so, start again with --overwrite, or name other --runs" in said
    assert run_json(capsys, *words, "--resume")["metrics"] == trained["metrics"]
    measured = run_json(capsys, "evaluate", run)
    assert measured["metrics"] == pytest.approx(trained["metrics"][0]["test"])


@pytest.mark.parametrize("url", ["127.0.0.1:1", "nonsense"])
def test_asking_with_nobody_serving_says_how_to_serve(capsys: Captured, url: str) -> None:
    for words in (["lrea", "--user", "1"], ["--user", "1"]):
        assert main(["ask", *words, "--url", url]) == 2
        printed = capsys.readouterr()
        assert "is the server running there? start one with recserve serve" in printed.err
        assert printed.err.count("\n") == 1


@pytest.mark.triton_server
def test_titles_are_of_the_data_set_of_the_served_model_and_of_no_other(capsys: Captured, lrea_client: Admin) -> None:
    for words in ([], ["lrea"]):
        shown = run_json(capsys, "ask", *words, "--user", "1", "--url", lrea_client.url)
        assert shown["dataset"] == "planted-clicks"
    assert main(["ask", "--user", "1", "--url", lrea_client.url, "--dataset", "ml-100k"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    said = "--dataset ml-100k, but the served model 'lrea' is of data set planted-clicks; leave --dataset out"
    assert said in printed.err
