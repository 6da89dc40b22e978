"""The demo from end to end on the real data set, with one epoch instead of all."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from recserve import results
from training.registry import SYSTEMS

RECSERVE = Path(sys.executable).with_name("recserve")


@pytest.mark.slow(70)
@pytest.mark.triton_server
@pytest.mark.long
def test_the_demo_proves_what_it_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    shared_memory = {path.name for path in Path("/dev/shm").iterdir()}
    words = ["demo", "--folder", "demo", "--max-epochs", "1", "--repetitions", "20", "--json"]
    done = subprocess.run([RECSERVE, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "demo/report.json").read_text())
    assert report["data"] == {"events": 100_000, "users": 943, "items": 1682}
    assert set(report["test"]) == {"lrea", "din", *SYSTEMS["lrea"].controls}
    assert min(test["auc"] for test in report["test"].values()) > 0.65
    assert report["served_against_offline"]["pairs"] > 9_000
    assert report["served_against_offline"]["largest"] < 1e-5
    assert all(row["ok"] for row in report["parity"]["rows"])
    assert {row["rung"] for row in report["parity"]["rows"]} == {"model", "export", "served", "concurrent"}
    concurrent = report["parity"]["concurrent"]
    assert concurrent["requests"] >= 4 * 200
    assert concurrent["executions"] < concurrent["requests"]
    for way in ("direct", "served"):
        for count in ("1", "100", "1000"):
            assert set(report["latency_ms"][way][count]) == {"p50", "p95", "p99"}
    assert report["versions"]["tritonserver"] == "2.51.0"
    assert "items that are new to the user" in done.stderr
    left = [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or [])]
    assert left == []
    created = {path.name for path in Path("/dev/shm").glob("recserve_*")} - shared_memory
    assert [name for name in created if not psutil.pid_exists(int(name.split("_")[1]))] == []


def test_the_recorded_results_keep_the_promises_of_lrea() -> None:
    lrea, din = (results.read("click", "ml-100k", name) for name in ("lrea", "din"))
    assert lrea is not None
    assert din is not None
    assert len(lrea.seeds) >= 3
    assert abs(lrea.test["served_auc"]["mean"] - lrea.test["auc"]["mean"]) < 0.001
    assert lrea.test["auc"]["mean"] > din.test["auc"]["mean"]
    assert lrea.test["negative_share"]["mean"] < 0.01
