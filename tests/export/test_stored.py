"""Tables in fewer bytes: a graph answers the same to the bit, and its file is smaller by what they save."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from export import lint, parity
from export.artifacts import Source
from export.onnx import export_onnx
from export.repository import publish
from export.run_alone import open_session
from export.stored import TOLERANCES, tables_of
from serving import golden, manifest
from training.layers.items import known
from training.layers.stored import Form, rounded
from training.servable import Servable, TensorSpec, servable

ROWS, WIDTH = 2000, 16
BYTES = {"fp16": 2 * ROWS * WIDTH, "int8": ROWS * WIDTH + 4 * ROWS}
TEXT = 4096
"""Bytes in which two graphs may differ beside their tables."""


class Looking(nn.Module):
    """Sum of an id's rows in two tables and a weight of its own, of which the last is too narrow for int8."""

    def __init__(self, form: Form | None = None, spread: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.narrow = (nn.Embedding(ROWS, width) for width in (WIDTH, WIDTH, 1))
        with torch.no_grad():
            for table in (self.one, self.two, self.narrow):
                table.weight.mul_(spread)
                if form is not None:
                    table.weight.copy_(rounded(table.weight, form))

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        ids = known(ids, ROWS)[:, 0]
        return (self.one(ids) + self.two(ids) + self.narrow(ids),)


class Multiplied(Looking):
    """The first table is multiplied as a whole as well, and none of the others is read."""

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        return (self.one(known(ids, ROWS)[:, 0]) @ self.one.weight.T[:, :WIDTH],)


def model(module: nn.Module, form: Form | None = None) -> Servable:
    plain = servable(
        name="toy",
        module=module,
        inputs=(TensorSpec(name="ids", dtype="int64", shape=(1,)),),
        outputs=(TensorSpec(name="out", dtype="float32", shape=(WIDTH,)),),
        example=lambda size, seed: (
            torch.randint(-1, ROWS + 1, (size, 1), generator=torch.Generator().manual_seed(seed)),
        ),
    )
    return replace(plain, tables=form)


def rounded_model(form: Form, spread: float = 1.0) -> Servable:
    before = model(Looking(spread=spread))
    return replace(model(Looking(form, spread), form), unrounded=before.eager)


@pytest.mark.parametrize("form", ["fp16", "int8"])
def test_answers_stay_to_the_bit_and_the_file_is_smaller_by_what_the_tables_save(form: Form, tmp_path: Path) -> None:
    whole, stored = tmp_path / "whole.onnx", tmp_path / "stored.onnx"
    export_onnx(model(Looking(form)), whole)
    export_onnx(model(Looking(form), form), stored)
    ids = np.concatenate([[-1, ROWS, 2**60], np.arange(ROWS)])[:, None]
    before, after = (np.asarray(open_session(path).run(None, {"ids": ids})[0]) for path in (whole, stored))
    assert np.array_equal(before, after)
    tables = 3 if form == "fp16" else 2
    saved = 2 * (4 * ROWS * WIDTH - BYTES[form]) + (2 * ROWS if form == "fp16" else 0)
    assert abs(whole.stat().st_size - stored.stat().st_size - saved) < TEXT
    found = tables_of(stored)
    assert len(found.stored) == tables
    assert sum(found.stored.values()) == 2 * BYTES[form] + (2 * ROWS if form == "fp16" else 0)
    assert list(found.whole.values()) == ([] if form == "fp16" else [4 * ROWS])
    graph = onnx.load(str(stored))
    assert graph.ir_version <= 10
    assert max(one.version for one in graph.opset_import) <= 21


def test_a_table_whose_values_the_form_does_not_hold_stays(tmp_path: Path) -> None:
    export_onnx(model(Looking(), "int8"), tmp_path / "model.onnx")
    assert not tables_of(tmp_path / "model.onnx").stored


def test_a_release_says_its_form_and_the_ladder_walks_by_its_tolerance(tmp_path: Path) -> None:
    said: list[str] = []
    publish(tmp_path / "models", [rounded_model("int8")], Source(kind="run", name="x"), report=said.append)
    version = tmp_path / "models" / "toy" / "1"
    tables = manifest.read(version)["tables"]
    assert (tables["form"], tables["tolerance"]) == ("int8", TOLERANCES["int8"])
    assert 0 < tables["worst"] < tables["tolerance"]
    assert any(f"2 tables as int8, {2 * BYTES['int8']:,} bytes; float32 stays" in line for line in said)
    rows = {row.rung: row for row in parity.offline(tmp_path / "models")}
    assert rows.keys() == {"tables", "export"}
    assert rows["tables"].worst == tables["worst"]
    assert rows["export"].worst < 1e-5
    assert lint.check(tmp_path / "models", cores=2) == []
    goldens = golden.read(version / "golden.safetensors")
    goldens[5].unrounded["out"][0, 3] += 1
    golden.write(version / "golden.safetensors", goldens)
    manifest.write(version, {name: value for name, value in manifest.read(version).items() if name != "files"})
    (broken,) = (row for row in parity.offline(tmp_path / "models") if row.rung == "tables")
    assert not broken.ok
    assert "golden 5, out[0, 3]" in broken.where


def test_what_rounding_changes_beyond_the_tolerance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"with tables as int8 output 'out'\[.*\] of a golden request differs by .*0.05"
    ):
        publish(tmp_path / "models", [rounded_model("int8", spread=20.0)], Source(kind="run", name="x"))
    assert not (tmp_path / "models" / "toy").exists()


def test_a_table_that_is_multiplied_as_a_whole_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no table of toy can be stored as fp16: .*\(one.weight of toy\); leave"):
        publish(tmp_path / "models", [model(Multiplied("fp16"), "fp16")], Source(kind="run", name="x"))
    assert not (tmp_path / "models" / "toy").exists()
