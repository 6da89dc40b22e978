"""Ages of events: buckets that no runtime rounds otherwise."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from training.layers.ages import BUCKETS, AgeEmbedding

BORDERS = [-1, -(2**63), *(2**power + step for power in range(62) for step in (-1, 0, 1))]


@given(st.integers(-(2**63), 2**62))
@example(0)
@example(2**62)
def test_a_bucket_is_the_number_of_bits(age: int) -> None:
    expected = min(max(0, age).bit_length(), BUCKETS - 1)
    assert AgeEmbedding(1).buckets(torch.tensor([[age]])).item() == expected


def test_all_borders_lie_where_they_should_in_the_graph_too(tmp_path: Path) -> None:
    ages = torch.tensor([BORDERS, BORDERS[::-1]])
    expected = torch.tensor([[min(max(0, age).bit_length(), BUCKETS - 1) for age in row] for row in ages.tolist()])
    module = AgeEmbedding(1).eval()
    assert torch.equal(module.buckets(ages), expected)
    module.rows.weight.data = torch.arange(float(BUCKETS))[:, None]
    path = tmp_path / "ages.onnx"
    torch.onnx.export(module, (ages,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: ages.numpy()})
    assert np.array_equal(np.asarray(found)[..., 0], expected.numpy())


def test_an_untrained_embedding_changes_nothing() -> None:
    assert not AgeEmbedding(4)(torch.tensor([[0, 5, 2**40]])).any()
