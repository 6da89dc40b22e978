"""The committed configurations are those that an export of each served system writes."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
import torch

from export.repository import CONFIG_FILES, write_configs
from training.data.synthetic import planted, planted_fields
from training.registry import SYSTEMS
from training.system import Signature

COMMITTED = Path(__file__).parents[1] / "model_repository"
SERVED = tuple(system for system in SYSTEMS.values() if system.servables is not None)
MODELS = (
    "dea_ranker",
    "lrea_ranker",
    "lrea_scorer",
    "lrea_user_encoder",
    *(f"matt_{base}{step}" for base in ("autoint", "dea", "deepfm") for step in ("", "_sampler", "_scorer")),
    "user_state",
)


@cache
def released() -> tuple[Signature, ...]:
    """The default of each system, untrained: neither weights nor vocabulary show in a configuration."""
    signatures: list[Signature] = []
    for system in SERVED:
        config = system.config()
        data = planted(max_length=config.max_length) if system.dataset == "ml-100k" else planted_fields()
        torch.manual_seed(0)
        model = system.build(config, data.schema)
        system.prepare(model, data)
        assert system.servables is not None
        signatures += system.servables(model.eval(), config, data)
    return tuple(signatures)


@pytest.mark.parametrize("file", CONFIG_FILES)
@pytest.mark.parametrize("model", MODELS)
def test_a_committed_configuration_equals_the_generated_one(tmp_path: Path, model: str, file: str) -> None:
    write_configs(tmp_path, released())
    remedy = "write it again with export.repository.write_configs"
    assert (COMMITTED / model / file).read_text() == (tmp_path / model / file).read_text(), remedy


def test_no_other_configuration_is_committed(tmp_path: Path) -> None:
    written = {path.relative_to(tmp_path) for path in write_configs(tmp_path, released())}
    assert {path.relative_to(COMMITTED) for path in COMMITTED.rglob("*.pbtxt")} == written


def test_versions_of_models_are_never_committed() -> None:
    command = ["git", "check-ignore", *(f"model_repository/{model}/1/model.onnx" for model in MODELS)]
    ignored = subprocess.run(command, cwd=COMMITTED.parent, capture_output=True, text=True, check=False).stdout
    assert len(ignored.split()) == len(MODELS)
