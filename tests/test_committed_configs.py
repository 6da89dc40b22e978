"""The committed configurations are those that an export of each served system writes."""

import os
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from training.data.synthetic import planted, planted_fields

from export.model_config import identity_of, model_config, render
from export.published import CONFIG_FILES
from recserve.runs import data_set
from training.data.content import GRAPH_WIDTH
from training.data.fetch import default_cache
from training.data.synthetic_sequences import synthetic_sequences
from training.generate_then_rank import generate_then_rank
from training.registry import SYSTEMS
from training.schema import digest
from training.servable import Origin, Signature
from training.system import System
from training.systems import reg4rec

COMMITTED = Path(__file__).parents[1] / "model_repository"
SERVED = tuple(system for system in SYSTEMS.values() if system.servables is not None)
DIGESTS = {
    "ml-100k": "0ae125a7adec3b0f",
    "ml-100k-fields": "badbffa3cb7ea90d",
    "beauty": "92007173f7b4116c",
    "hin-amazon": "9433bace5d3782da",
}
"""Of the schema of each true data set, which the synthetic ones stand for here."""
CATALOGUE = "dafa3a1f0d2c29cd"
"""Of beauty as the tokenizers see it."""
MODELS = (
    "dea",
    "generate_then_rank",
    "lrea",
    "lrea_scorer",
    "lrea_encoder",
    "lrea_state",
    *(f"matt_{base}{step}" for base in ("autoint", "dea", "deepfm") for step in ("", "_sampler", "_scorer")),
    "mmq2",
    "mmq",
    *(f"reg4rec{ids}" for ids in ("", "_letter", "_mmq", "_mmq2", "_rqvae")),
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
        origin = Origin(system=system.name, task=system.task, schema=data.schema)
        signatures += [replace(one, origin=origin) for one in system.servables(model.eval(), config, data)]
    named = {signature.name: signature for signature in signatures}
    ranker = [named[name] for name in ("lrea_encoder", "lrea_scorer", "lrea_state", "lrea")]
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


def texts() -> dict[str, str]:
    """Path below the repository -> configuration, of the true data sets."""
    found = {}
    for signature in released():
        said = identity_of(signature)
        dataset = SYSTEMS[said.system or ""].dataset
        true = CATALOGUE if said.task == "semantic ids" else DIGESTS[dataset]
        for file, target in CONFIG_FILES.items():
            config = model_config(signature, target)
            said._replace(dataset=dataset, schema_digest=true).add_to(config)
            found[f"{signature.name}/{file}"] = render(config)
    return found


def write(repository: Path = COMMITTED) -> None:
    """Writes the configurations anew: python -c 'from tests.test_committed_configs import write; write()'."""
    for path, text in texts().items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(text)


@pytest.mark.parametrize("file", CONFIG_FILES)
@pytest.mark.parametrize("model", MODELS)
def test_a_committed_configuration_equals_the_generated_one(model: str, file: str) -> None:
    remedy = "write it again with the function `write` of this file"
    assert (COMMITTED / model / file).read_text() == texts()[f"{model}/{file}"], remedy


def test_no_other_configuration_is_committed() -> None:
    assert {str(path.relative_to(COMMITTED)) for path in COMMITTED.rglob("*.pbtxt")} == set(texts())


@pytest.mark.parametrize("name", DIGESTS)
def test_the_configurations_name_the_schema_of_the_true_data_set(name: str) -> None:
    folder = "ml-100k" if name == "ml-100k-fields" else name
    if not (default_cache() / folder).is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip(f"{folder} is not here: recserve data fetch {folder}")
    assert digest(data_set(name).schema) == DIGESTS[name]


def test_versions_of_models_are_never_committed() -> None:
    command = ["git", "check-ignore", *(f"model_repository/{model}/1/model.onnx" for model in MODELS)]
    ignored = subprocess.run(command, cwd=COMMITTED.parent, capture_output=True, text=True, check=False).stdout
    assert len(ignored.split()) == len(MODELS)
