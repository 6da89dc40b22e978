"""Served tokenizers answer as the trained ones, to the bit in their ids, and say what cannot be right."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session, verify_onnx
from tests.training.systems.tokenizer_models import catalogue, prepared
from training.baselines import rqvae
from training.layers.tokenizer import catalogue_tokens
from training.servable import Servable
from training.system import System
from training.systems import bbqrec, mmq, mmq2, mpq
from training.tasks.semantic_ids import SEMANTIC_IDS

SYSTEMS = {system.name: system for system in (rqvae.SYSTEM, mpq.SYSTEM, mmq.SYSTEM, mmq2.SYSTEM, bbqrec.QUANTISER)}
RICHER = "mmq, its own form"
FORMS = {**SYSTEMS, RICHER: mmq.SYSTEM}


def module_of(system: System) -> Any:
    return prepared(system, catalogue(system)).eval()


@cache
def served(form: str) -> Servable:
    """The plain form of each system, and what MMQ releases."""
    system = FORMS[form]
    module, data = module_of(system), catalogue(system)
    plain = form != RICHER
    models = SEMANTIC_IDS.release("ids", module, data) if plain else system.release(module, module.config, data)
    (only,) = models
    assert isinstance(only, Servable)
    assert only.name == "ids" if plain else "mmq"
    return only


@pytest.fixture(scope="module", params=list(FORMS))
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def path(form: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported graph."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_onnx(served(form), path)
    return path


def test_onnx_runtime_gives_the_ids_of_the_trained_tokenizer(form: str, path: Path) -> None:
    system, model = FORMS[form], served(form)
    assert verify_onnx(model, path) < 1e-5
    data = catalogue(system)
    inputs = tuple(getattr(data.vectors, spec.name)[1:] for spec in model.inputs)
    answers = run_session(open_session(path), model, inputs)
    codes, weights = catalogue_tokens(module_of(system), data.vectors)
    assert np.array_equal(answers["sids"], codes[1:].numpy())
    if form == RICHER:
        assert (np.abs(answers["best"]) <= 1 + 1e-6).all()
    else:
        np.testing.assert_allclose(answers["weights"], weights[1:].numpy(), rtol=1e-6, atol=0)
        assert ((answers["weights"] == 0) == (weights[1:].numpy() == 0)).all()


def test_content_that_is_not_finite_gets_no_ids_and_harms_no_one_else(form: str, path: Path) -> None:
    model, session = served(form), open_session(path)
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


def test_the_training_form_in_fp64_gives_the_served_answers(form: str) -> None:
    model = served(form)
    inputs = model.example(16, 1)
    assert model.reference is not None
    assert model.eager64 is not None
    reference, ours = model.reference(*inputs), model.eager64(*inputs)
    assert torch.equal(reference[0], ours[0])
    for one, other in zip(reference[1:], ours[1:], strict=True):
        assert one.dtype == torch.float64
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_only_a_tokenizer_that_reads_behaviour_asks_for_it() -> None:
    asked = {form: [spec.name for spec in served(form).inputs] for form in FORMS}
    assert asked.pop("mmq2") == ["text", "graph", "behaviour"]
    assert all(names == ["text", "graph"] for names in asked.values())


def test_without_the_vectors_that_it_reads_a_tokenizer_is_not_released() -> None:
    data = catalogue(mmq2.SYSTEM, vectors=torch.zeros(61, 0))
    with pytest.raises(ValueError, match="the behaviour vectors are missing"):
        SEMANTIC_IDS.release("ids", module_of(mmq2.SYSTEM), data)
