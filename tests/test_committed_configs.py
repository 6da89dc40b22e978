"""The committed configurations are those that an export of each served system writes."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from export.repository import CONFIG_FILES, write_configs
from training.data.content import GRAPH_WIDTH
from training.data.synthetic import planted, planted_fields
from training.data.synthetic_sequences import synthetic_sequences
from training.generate_then_rank import generate_then_rank
from training.registry import SYSTEMS
from training.system import Signature, System
from training.systems import reg4rec

COMMITTED = Path(__file__).parents[1] / "model_repository"
SERVED = tuple(system for system in SYSTEMS.values() if system.servables is not None)
MODELS = (
    "dea_ranker",
    "generate_then_rank",
    "lrea_ranker",
    "lrea_scorer",
    "lrea_user_encoder",
    *(f"matt_{base}{step}" for base in ("autoint", "dea", "deepfm") for step in ("", "_sampler", "_scorer")),
    "mmq2_tokenizer",
    "mmq_tokenizer",
    *(f"reg4rec{ids}" for ids in ("", "_letter", "_mmq", "_mmq2", "_rqvae")),
    "user_state",
)


@cache
def released() -> tuple[Signature, ...]:
    """The default of each system, untrained: neither weights nor vocabulary show in a configuration."""
    signatures: list[Signature] = []
    for system in SERVED:
        config = system.config()
        data = data_of(system, config)
        torch.manual_seed(0)
        model = system.build(config, data.schema)
        system.prepare(model, data)
        assert system.servables is not None
        signatures += system.servables(model.eval(), config, data)
    named = {signature.name: signature for signature in signatures}
    ranker = [named[name] for name in ("lrea_user_encoder", "lrea_scorer", "user_state", "lrea_ranker")]
    return *signatures, generate_then_rank(named["reg4rec"], ranker)


def data_of(system: System, config: Any) -> Any:
    """Synthetic data with the widths of the system's own data set, and what its upstream runs would give."""
    match system.dataset:
        case "ml-100k":
            return planted(max_length=config.max_length)
        case "ml-100k-fields" | "hin-amazon":
            return planted_fields()
    given = {
        "item_vectors": torch.randn(61, SYSTEMS["sasrec"].config().dim, generator=torch.Generator().manual_seed(0))
    }
    if isinstance(config, reg4rec.Config):
        codes = torch.arange(61)[:, None] % config.shape.words
        given["codes"] = codes.expand(-1, config.shape.codebooks).contiguous()
        given["weights"] = torch.ones(given["codes"].shape)
    return system.view(synthetic_sequences(graph_width=GRAPH_WIDTH).with_given(given))


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
