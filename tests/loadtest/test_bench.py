"""Load runs against a real server, as a person and as CI start them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import driver
from loadtest.bench import trusted_pool
from loadtest.driver import Load, drive
from loadtest.failure import MeasurementError
from loadtest.pool import Pool, Request
from loadtest.scenario import Scenario
from recserve.cli import main
from recserve.commands.bench import Bench
from recserve.commands.bench_abuse import BenchAbuse
from recserve.commands.bench_faults import BenchFaults
from serving.server import TritonServer

pytestmark = pytest.mark.triton_server
RANKER = Scenario("lrea")


@pytest.fixture(scope="module")
def load(repository: Path, lrea_server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Load:
    file = tmp_path_factory.mktemp("pool") / "pool.safetensors"
    trusted_pool(RANKER, repository, 0).save(file)
    return Load(url=lrea_server.url, pool=file, seconds=2.0)


def test_traffic_is_skewed_ragged_and_follows_from_the_seed(repository: Path) -> None:
    requests = RANKER.requests(repository, 0)
    sizes = [one["candidates"].size for one in requests]
    assert len(set(sizes)) > 20
    assert 1 <= min(sizes) < 50 < 200 < max(sizes) <= 1000
    again, other = RANKER.requests(repository, 0), RANKER.requests(repository, 1)
    assert all(np.array_equal(one["candidates"], two["candidates"]) for one, two in zip(requests, again, strict=True))
    assert [one["user_id"].item() for one in requests] != [one["user_id"].item() for one in other]


@pytest.mark.parametrize(
    "how", [{"users": 4}, {"rate": 60.0}, {"users": 4, "workers": 2}, {"rate": 60.0, "workers": 2}]
)
def test_every_answer_under_load_is_the_one_given_alone(load: Load, how: dict[str, Any]) -> None:
    records = drive(replace(load, **how))
    assert records.wrong == 0
    assert records.errors == {}
    assert len(records.latency) > 1
    assert (records.latency > 0).all()
    if "rate" in how:
        # By when they were meant to be sent, whenever a busy machine sent them.
        assert 30 < (len(records.intended) - 1) / np.ptp(records.intended) < 120, "60 a second"


def test_a_wrong_answer_is_counted(load: Load, tmp_path: Path) -> None:
    pool = Pool.load(load.pool)
    spoilt = [Request(one.inputs, ({"scores": one.expected[0]["scores"] + 0.01},)) for one in pool.requests]
    Pool(pool.model, spoilt).save(tmp_path / "pool")
    records = drive(replace(load, pool=tmp_path / "pool"))
    assert records.wrong == len(records.latency) > 0


def test_a_server_that_is_not_there_is_an_error_of_every_request(load: Load) -> None:
    records = drive(replace(load, url="127.0.0.1:9", seconds=1.0, rate=20.0))
    assert set(records.outcome) == {"ServerUnavailable"}


SLOW_TO_START = """
from loadtest.locustfile import *
import time
from loadtest.pool import Pool
load = Pool.load
Pool.load = lambda path: (time.sleep(4), load(path))[1]
"""


def test_a_load_lasts_as_long_as_asked_for_however_slowly_its_workers_start(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(SLOW_TO_START)
    monkeypatch.setattr(driver, "LOCUSTFILE", tmp_path / "slow.py")
    records = drive(replace(load, workers=1, users=2))
    assert records.ok.sum() > 1


def test_what_locust_says_is_passed_on_when_nothing_was_sent(load: Load) -> None:
    with pytest.raises(MeasurementError, match=r"(?s)locust sent nothing.*No such file"):
        drive(replace(load, pool=Path("/nowhere/pool")))


def test_results_go_where_nothing_is_committed() -> None:
    assert {Bench(model="lrea").output, BenchFaults().output, BenchAbuse().output} == {Path("runs/bench")}


@pytest.mark.slow(60)
@pytest.mark.long
def test_the_command_measures_reports_compares_and_gates(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "lrea", "--repository", str(repository), "--output", str(tmp_path), "--seconds", "1"]
    words += ["--users", "2", "--rates", "50", "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(run["mode"], run["users"]) for run in result["runs"]] == [("closed", 2), ("open", None)]
    for run in result["runs"]:
        assert run["wrong"] == 0 < run["ok"]
        assert run["server"].keys() == {"lrea"}
        assert run["cpu_seconds_per_1000"] > 0
        assert any(name.startswith("recserve_user_state_reads_total") for name in run["metrics"])
    assert result["floor"]["p50_ms"] > 0
    page = Path(result["file"]).with_suffix(".html").read_text()
    assert page.count("<svg") >= 3
    baseline = json.loads(Path(result["file"]).read_text())
    for run in baseline["runs"]:
        run["over_floor"] = {"p50": 1e-3, "p99": 1e-3}
    (tmp_path / "fast.json").write_text(json.dumps(baseline))
    assert main([*words, "--gate", str(tmp_path / "fast.json"), "--against", result["file"]]) == 1
    gate = {row["name"]: row["ok"] for row in json.loads(capsys.readouterr().out)["gate"]}
    assert gate["wrong"]
    assert gate["failed"]
    assert not gate["closed-2.over_floor.p50"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lrea", "--tolerance", "much"], "much"),
        (["lrea", "--seconds", "0"], "--seconds and --users must be at least 1"),
        (["lrea", "--gate", "nothing.json"], "nothing.json is not a result of recserve bench"),
        (["faults", "--rate", "0"], "--rate must be above 0"),
        (["faults", "--soak-minutes", "0.1"], "two roll-outs at least"),
        (["peers", "--servers", "apache"], "apache"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err
