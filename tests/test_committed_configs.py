"""The committed configurations are those that an export of each system of a paper writes: `S` and its parts `S_<part>`.

Committed are papers' systems with their default configuration, each on its task's default data set: what a reader would
serve, and would want to see change in a review. They are those whose configuration no field of a data set shows in,
so that planted data can stand for the true. Others' and baselines' are left out: `recserve export` writes them in
seconds.
"""

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.model_config import identity_of, model_config, render
from export.published import CONFIG_FILES
from recserve.runs import MAX_LENGTH
from training.data.content import GRAPH_WIDTH
from training.data.fetch import default_cache
from training.data.synthetic_sequences import synthetic_sequences
from training.datasets import read
from training.interactions import Interactions
from training.registry import SYSTEMS
from training.schema import digest
from training.servable import Origin, Signature, of_origin
from training.system import System, Wanted, prepare
from training.systems import dea, lrea, matt, mmq, mmq2, mpq, reg4rec

COMMITTED = Path(__file__).parents[1] / "model_repository"
PAPERS = tuple(one.SYSTEM for one in (dea, lrea, matt, mmq, mmq2, mpq, reg4rec))
DIGESTS = {"ml-100k": "f3651abaf1f07934", "beauty": "8336da3d8157b863", "hin-amazon": "141016e76927437d"}
"""Of the schema of each true data set; planted ones stand for them here."""
MODELS = (
    "dea",
    *(f"lrea{part}" for part in ("", "_encoder", "_scorer", "_state")),
    *(f"matt{part}" for part in ("", "_sampler", "_scorer")),
    "mmq",
    "mmq2",
    "mpq",
    "reg4rec",
)


@cache
def released() -> tuple[Signature, ...]:
    """The default of each system, untrained: neither weights nor vocabulary show in a configuration."""
    signatures: list[Signature] = []
    for system in PAPERS:
        config = system.config()
        interactions = planted(system)
        wanted = Wanted(system.reads, getattr(config, "max_length", MAX_LENGTH), given(system, config, interactions))
        data = system.view(system.task.view(interactions, wanted))
        torch.manual_seed(0)
        module = system.build(config, data.schema)
        prepare(module, data)
        origin = Origin(system=system.name, task=system.task.name, schema=interactions.schema)
        signatures += of_origin(system.release(module.eval(), config, data), origin)
    return tuple(signatures)


def planted(system: System) -> Interactions:
    """The task's planted data; vectors of items as wide as those of the true data set."""
    if system.task.default == "beauty":
        return synthetic_sequences(graph_width=GRAPH_WIDTH)
    return system.task.planted()


def given(system: System, config: object, interactions: Interactions) -> dict[str, Tensor]:
    """What the runs that a system builds on would give: of a tokenizer its ids, of any other vectors of items."""
    found: dict[str, Tensor] = {}
    for upstream in system.upstream(config):
        other = SYSTEMS[upstream.system]
        defaults = other.config(**upstream.config)
        wanted = Wanted(other.reads, MAX_LENGTH, given(other, defaults, interactions))
        data = other.view(other.task.view(interactions, wanted))
        torch.manual_seed(0)
        module = other.build(defaults, data.schema)
        prepare(module, data)
        assert other.products is not None
        found |= other.products(module.eval(), data)
    return found


def texts() -> dict[str, str]:
    """Path below the repository -> configuration, of the true data sets."""
    found = {}
    for signature in released():
        said = identity_of(signature)
        dataset = SYSTEMS[said.system or ""].task.default
        for file, target in CONFIG_FILES.items():
            config = model_config(signature, target)
            said._replace(dataset=dataset, schema_digest=DIGESTS[dataset]).add_to(config)
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


def test_a_system_s_models_are_called_as_it_is() -> None:
    assert set(MODELS) == {signature.name for signature in released()}
    for name in MODELS:
        assert name.split("_")[0] in {system.name for system in PAPERS}


@pytest.mark.parametrize("name", DIGESTS)
def test_the_configurations_name_the_schema_of_the_true_data_set(name: str) -> None:
    if not (default_cache() / name).is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip(f"{name} is not here: recserve data fetch {name}")
    assert digest(read(name).schema) == DIGESTS[name]


def test_versions_of_models_are_never_committed() -> None:
    command = ["git", "check-ignore", *(f"model_repository/{model}/1/model.onnx" for model in MODELS)]
    ignored = subprocess.run(command, cwd=COMMITTED.parent, capture_output=True, text=True, check=False).stdout
    assert len(ignored.split()) == len(MODELS)
