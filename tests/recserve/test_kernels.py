"""`recserve kernels bench` and `report` as a person and as a program see them."""

import json

import pytest
import torch
from torch import Tensor

from kernels import bench, report
from kernels.case import Case
from kernels.devices import Work
from kernels.registry import HotOp
from recserve.commands.kernels import Bench, Report, ratio


def doubled(x: Tensor) -> Tensor:
    return x + x


def toy(factor: int = 2) -> HotOp:
    case = Case(
        name="request",
        config="toy",
        inputs=lambda seed: (torch.arange(4.0) + seed,),
        op=doubled,
        reference=lambda x: factor * x,
        launch=doubled,
        work=Work(16, 16, 4, "fp32"),
        tolerance=1e-6,
    )
    return HotOp("toy", list, {}, lambda: [case])


ROW = report.Row(
    op="toy",
    arch="sm_90",
    config="narrow",
    registers=40,
    stack_bytes=0,
    local_loads=0,
    local_stores=0,
    shared_bytes=1024,
    occupancy=0.5,
    bytes_over_minimum=1.0,
    sectors_over_minimum=1.0,
    case="saturated",
    modelled_us=3.0,
    measured_us=None,
)


def test_bench_prints_times_and_their_ratio_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "OPS", (toy(),))
    assert Bench(device="cpu", json=True).run() == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["ok"]
    assert row["onnx_ratio"] == pytest.approx(row["onnx_us"] / row["op_us"])


def test_a_wrong_answer_is_shown_without_times_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "OPS", (toy(factor=3),))
    assert Bench(device="cpu", json=True).run() == 1
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["op_us"] is row["onnx_ratio"] is None


def test_the_report_leaves_measured_times_empty_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "rows", lambda told: [ROW])
    assert Report(json=True).run() == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["modelled_us"] == 3.0
    assert row["measured_us"] is None
    assert {"op", "arch", "config", "registers", "stack_bytes", "local_loads", "local_stores"} < set(row)
    assert {"shared_bytes", "occupancy", "bytes_over_minimum"} < set(row)


def test_a_kernel_that_spills_fails_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "rows", lambda told: [report.Row(**{**ROW.__dict__, "stack_bytes": 8})])
    assert Report().run() == 1


def test_a_ratio_needs_both_times() -> None:
    assert ratio(bench.Timing(op="toy", case="", config="", gap=0.0, ok=True, op_us=2.0)) is None
