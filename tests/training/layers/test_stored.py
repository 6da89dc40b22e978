"""Tables that are rounded to what fewer bytes hold."""

import copy

import pytest
import torch

from tests.training.click_views import view_of
from training.layers.items import IdEmbedding
from training.layers.prestored import stamp_of
from training.layers.stored import LEVELS, Form, rounded, scales, store_tables
from training.registry import SYSTEMS
from training.schema import Field
from training.system import prepare
from training.warm_start import Axis

KEY = Field(name="item", role="item", kind="id", uses=("key",), cardinality=300)


def uneven(rows: int = 2000, width: int = 16) -> torch.Tensor:
    """Rows of unlike norm, one of zeros."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(rows, width, generator=generator) * torch.rand(rows, 1, generator=generator) ** 8
    table[3] = 0
    return table


def test_int8_rows_are_levels_times_a_scale_that_can_be_told_from_them() -> None:
    table = uneven()
    found = rounded(table, "int8")
    levels = (found / scales(found)).round()
    assert torch.equal(scales(found), scales(table))
    assert torch.equal(levels * scales(found), found)
    assert levels.abs().max() == LEVELS
    assert torch.equal(found[3], torch.zeros(16))
    worst = table.abs().amax(1, keepdim=True) / LEVELS * (0.5 + 1e-3)
    assert ((found - table).abs() <= worst).all()


@pytest.mark.parametrize("form", ["fp16", "int8"])
def test_rounding_twice_is_rounding_once(form: Form) -> None:
    found = rounded(uneven(), form)
    assert torch.equal(rounded(found, form), found)
    assert not torch.equal(found, uneven())


def test_a_row_that_is_not_wider_than_its_scale_stays() -> None:
    narrow = uneven(width=1)
    assert torch.equal(rounded(narrow, "int8"), narrow)
    assert not torch.equal(rounded(narrow, "fp16"), narrow)


def test_a_value_beyond_float16_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a table has 1e\+05, and float16 holds 65504 at most; store it as int8"):
        rounded(torch.full((2, 8), 1e5), "fp16")
    assert rounded(torch.full((2, 8), 1e5), "int8").isfinite().all()


def test_the_mean_of_what_training_met_is_rounded_with_the_rows() -> None:
    torch.manual_seed(0)
    layer = IdEmbedding(Axis((KEY,)), 8)
    layer.share.uniform_()
    store_tables(layer, "int8")
    found = layer._rows()
    assert len(found) == 300 + 1
    assert torch.equal(rounded(found, "int8"), found)


@pytest.mark.parametrize("name", ["deepfm", "din"])
def test_a_rounded_model_is_another_model(name: str) -> None:
    system = SYSTEMS[name]
    data = view_of(system, system.task.planted())
    torch.manual_seed(0)
    module = system.build(system.config(), data.schema).eval()
    prepare(module, data)
    other = copy.deepcopy(module)
    store_tables(other, "int8")
    batch = data.test.batch(torch.arange(20).numpy())
    with torch.no_grad():
        before, after = module(batch), other(batch)
    assert stamp_of(other) != stamp_of(module)
    assert not torch.equal(before, after)
    assert torch.allclose(before, after, atol=1e-2)
    assert torch.equal(copy.deepcopy(other)(batch), after)
