"""The ladder holds for a good release, and each kind of damage breaks the rung that is there for it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.artifacts import Source
from export.parity import ParityOptions, walk
from export.repository import publish
from export.rungs import Row, concurrent, opened, served
from recserve.cli import main
from serving import golden, runtime
from serving.admin import Admin
from serving.server import TritonServer
from tests.conftest import lrea
from tests.sealing import reseal

OPTIONS = ParityOptions(requests=200, clients=16)
OFFLINE = [
    ("lrea_encoder", "export"),
    ("lrea_scorer", "export"),
    ("lrea_state", "export"),
    ("lrea", "model"),
    ("lrea", "export"),
]
ONLINE = [
    (model, rung)
    for model in ("lrea_encoder", "lrea_scorer", "lrea_state", "lrea")
    for rung in ("served", "concurrent")
]


def rungs(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.model, row.rung) for row in rows]


def broken_rung(repository: Path, options: ParityOptions = OPTIONS) -> Row:
    """The last row, after a check that all before it hold."""
    ladder = walk(reseal(repository), options)
    assert not ladder.ok
    assert all(row.ok for row in ladder.rows[:-1])
    return ladder.rows[-1]


def corrupt_one_weight(repository: Path) -> None:
    path = repository / "lrea_scorer" / "1" / "model.onnx"
    model = onnx.load(path)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "tower.last.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] += 0.5
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def backend_with(tmp_path: Path, damage: str) -> Path:
    """A copy of the stand-in backend that does `damage` to the answers of a run."""
    backends = Path(shutil.copytree(runtime.BACKENDS, tmp_path / "backends"))
    with (backends / "onnxruntime" / "model.py").open("a") as model:
        model.write(
            "class Damaged(TritonPythonModel):\n"
            "    def run(self, batch):\n"
            "        answers = super().run(batch)\n"
            f"        {damage}\n"
            "        return answers\n"
            "TritonPythonModel = Damaged\n"
        )
    return backends


@pytest.mark.triton_server
def test_a_good_release_passes_every_rung_and_was_really_batched(repository: Path) -> None:
    reported: list[Row] = []
    ladder = walk(repository, OPTIONS, reported.append)
    assert ladder.ok
    assert rungs(ladder.rows) == OFFLINE + ONLINE
    assert reported == ladder.rows
    served = {row.model: row.worst for row in ladder.rows if row.rung == "served"}
    assert served["lrea_scorer"] == served["lrea_encoder"] == 0.0
    assert ladder.concurrent.requests >= 4 * 200
    assert ladder.concurrent.executions < ladder.concurrent.requests


@pytest.mark.triton_server
def test_where_no_two_requests_meet_more_are_asked_each_time_and_the_rung_does_not_hold(
    repository: Path, lrea_server: TritonServer, lrea_client: Admin
) -> None:
    """One client at a time, as on a machine that is so busy."""
    model = opened(repository / "lrea_scorer", "cpu")
    _, alone = served(model, lrea_client)
    row, counted = concurrent(model, alone, lrea_server, requests=2, clients=1)
    assert counted == (2 * 63, 2 * 63)
    assert not row.ok
    assert row.where == "126 requests took 126 executions: nothing was batched, nothing proved"


def test_a_corrupt_reference_breaks_the_rung_of_the_model(broken: Path) -> None:
    path = broken / "lrea" / "1" / "golden.safetensors"
    goldens = golden.read(path)
    scores = goldens[6].reference64["scores"].copy()
    scores[0, 3] += 1e-6
    goldens[6] = replace(goldens[6], reference64={"scores": scores})
    golden.write(path, goldens)
    row = broken_rung(broken)
    assert (row.model, row.rung) == ("lrea", "model")
    assert row.absolute == pytest.approx(1e-6, rel=1e-3)
    assert row.where.startswith(f"golden 6, scores[0, 3]: expected {scores[0, 3]:.9g}, got ")
    assert f"candidates=[{goldens[6].inputs['candidates'][0, 0]}" in row.where


def test_a_corrupt_weight_breaks_the_rung_of_the_export(broken: Path) -> None:
    corrupt_one_weight(broken)
    row = broken_rung(broken)
    assert (row.model, row.rung) == ("lrea_scorer", "export")
    assert 1e-3 < row.worst < 1
    assert ", scores[0, " in row.where
    assert ": expected 0." in row.where


@pytest.mark.triton_server
def test_a_backend_that_computes_otherwise_breaks_the_rung_of_the_server(repository: Path, tmp_path: Path) -> None:
    backends = backend_with(
        tmp_path, "answers = [{name: -array for name, array in answer.items()} for answer in answers]"
    )
    row = broken_rung(repository, replace(OPTIONS, backends=backends))
    assert row.rung == "served"


@pytest.mark.triton_server
def test_a_backend_that_swaps_two_answers_of_a_batch_breaks_the_concurrent_rung_alone(
    repository: Path, tmp_path: Path
) -> None:
    backends = backend_with(tmp_path, "answers[:2] = answers[:2][::-1]")
    ladder = walk(repository, replace(OPTIONS, backends=backends))
    assert not ladder.ok
    assert [row.rung for row in ladder.rows if not row.ok] == ["concurrent"]
    assert rungs(ladder.rows)[-2:] == [("lrea_encoder", "served"), ("lrea_encoder", "concurrent")]
    assert "request: history_items=[" in ladder.rows[-1].where


def encoder_of_another_version(repository: Path, tmp_path: Path) -> None:
    """Encoder and state of a release with other weights, whole in themselves."""
    encoder, _, state, _ = lrea(seed=1)
    publish(tmp_path / "other", [encoder, state], Source(kind="factory", name="tests.conftest:lrea"))
    for model in (encoder.name, state.name):
        shutil.rmtree(repository / model)
        shutil.move(tmp_path / "other" / model, repository / model)


def step_that_answers(repository: Path, answer: str) -> None:
    """Has the server's step `lrea_state` say something else in place of `one`, its right answer."""
    (repository / "lrea_state" / "1" / "model.py").write_text(
        "from serving.steps.step import Refusal\nfrom serving.steps.model import TritonPythonModel as Right\n"
        "class TritonPythonModel(Right):\n"
        "    def initialize(self, args):\n"
        "        super().initialize(args)\n"
        "        right = self._step.answer\n"
        f"        self._step.answer = lambda requests: [{answer} for one in right(requests)]\n"
    )


def test_a_state_of_another_version_breaks_the_rung_of_the_export(broken: Path, tmp_path: Path) -> None:
    encoder_of_another_version(broken, tmp_path)
    row = broken_rung(broken)
    assert (row.model, row.rung) == ("lrea", "export")
    assert "got nan; request: candidates=" in row.where


@pytest.mark.triton_server
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("{**one, 'bias': one['bias'] + 1}", ": expected "),
        ("Refusal('out of order', 'INTERNAL')", "golden 0 was not answered: "),
    ],
)
def test_a_step_that_the_server_runs_otherwise_breaks_the_rung_of_the_server(
    broken: Path, answer: str, text: str
) -> None:
    step_that_answers(broken, answer)
    row = broken_rung(broken)
    assert (row.model, row.rung) == ("lrea_state", "served")
    assert text in row.where


def test_a_repository_that_cannot_be_walked_is_an_error(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no model"):
        walk(tmp_path / "empty", OPTIONS)
    (broken / "lrea_state" / "1" / "golden.safetensors").unlink()
    with pytest.raises(ValueError, match=r"golden\.safetensors is missing: nothing to compare with"):
        walk(broken, OPTIONS)


def test_the_command_exits_with_1_and_prints_and_writes_the_worst_element(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    corrupt_one_weight(broken)
    reseal(broken)
    output, junit = tmp_path / "reports" / "parity.json", tmp_path / "reports" / "parity.xml"
    assert main(["parity", "--repository", str(broken), "--output", str(output), "--junit", str(junit)]) == 1
    printed = capsys.readouterr().out
    written = json.loads(output.read_text())
    assert not written["ok"]
    assert [(row["model"], row["rung"], row["ok"]) for row in written["rows"]] == [
        ("lrea_encoder", "export", True),
        ("lrea_scorer", "export", False),
    ]
    assert written["concurrent"] == {"requests": 0, "executions": 0}
    assert written["rows"][-1]["where"] in ElementTree.parse(junit).getroot()[0][-1][0].attrib["message"]
    assert "broken: lrea_scorer, rung 'export'" in printed
    assert written["rows"][-1]["where"] in printed
    assert f"{np.float64(written['rows'][-1]['worst']):.1e}" in printed
