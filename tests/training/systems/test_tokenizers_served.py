"""Served tokenizers answer as the trained ones, to the bit in their ids, and say what cannot be right."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session, verify_onnx
from tests.training.systems.tokenizer_models import catalogue, prepared
from training.layers.tokenizer import catalogue_tokens
from training.servable import Servable
from training.system import System
from training.systems import mmq, mmq2

SYSTEMS = {"mmq": mmq.SYSTEM, "mmq2": mmq2.SYSTEM}


def served(name: str) -> tuple[System, Servable]:
    system = SYSTEMS[name]
    data = catalogue(system)
    module = prepared(system, data).eval()
    assert system.servables is not None
    (only,) = system.servables(module, module.config, data)
    assert isinstance(only, Servable)
    return system, only


@pytest.mark.parametrize("name", SYSTEMS)
def test_onnx_runtime_gives_the_ids_of_the_trained_tokenizer(name: str, tmp_path: Path) -> None:
    system, model = served(name)
    assert model.name == name
    export_onnx(model, tmp_path / "model.onnx")
    assert verify_onnx(model, tmp_path / "model.onnx") < 1e-5
    data = catalogue(system)
    session = open_session(tmp_path / "model.onnx")
    inputs = tuple(getattr(data.vectors, spec.name)[1:] for spec in model.inputs)
    answers = run_session(session, model, inputs)
    codes, weights = catalogue_tokens(prepared(system, data), data.vectors)
    assert np.array_equal(answers["sids"], codes[1:].numpy())
    if name == "mmq2":
        np.testing.assert_allclose(answers["weights"], weights[1:].numpy(), rtol=1e-6, atol=0)
        assert ((answers["weights"] == 0) == (weights[1:].numpy() == 0)).all()
    else:
        assert (np.abs(answers["best"]) <= 1 + 1e-6).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_content_that_is_not_finite_gets_no_ids_and_harms_no_one_else(name: str, tmp_path: Path) -> None:
    _, model = served(name)
    export_onnx(model, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    for value in (float("nan"), float("inf"), -float("inf")):
        inputs = model.example(4, 0)
        clean = run_session(session, model, inputs)
        inputs[-1][1, 3] = value
        eager = [part.numpy() for part in model.eager(*inputs)]
        for found in (run_session(session, model, inputs), dict(zip(clean, eager, strict=True))):
            assert (found["sids"][1] == -1).all()
            assert all(np.isnan(part[1]).all() for name, part in found.items() if name != "sids")
            for name, part in found.items():
                np.testing.assert_allclose(part[[0, 2, 3]], clean[name][[0, 2, 3]], rtol=1e-6)


def test_the_training_form_in_fp64_gives_the_served_answers() -> None:
    _, model = served("mmq")
    inputs = model.example(16, 1)
    assert model.reference is not None
    assert model.eager64 is not None
    reference, ours = model.reference(*inputs), model.eager64(*inputs)
    assert torch.equal(reference[0], ours[0])
    torch.testing.assert_close(reference[1], ours[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(reference[2], ours[2], rtol=1e-10, atol=1e-10)
