"""Own tables with ids of text and of 62 bits, and untrained systems on them, in one repository."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from export.artifacts import Source
from export.model_config import read_config, render
from export.published import CONFIG_FILES
from export.renaming import under_name
from export.repository import publish
from recserve.cli import main
from serving.identity import Identity
from tests.once import once
from training import datasets
from training.data import sentence_vectors
from training.registry import SYSTEMS
from training.retrieve_then_rank import RETRIEVER, joined
from training.servable import Origin, Signature, of_origin
from training.system import Data, System, Wanted, prepare

NUM_USERS, NUM_ITEMS, NUM_EVENTS = 30, 80, 900
SKUS = [2**55 * number + 7 for number in range(1, NUM_ITEMS + 1)]
SMALL = {"dim": 8, "hidden": (8, 4), "dropout": 0.0}
REG4REC = {"dim": 16, "codebooks": 2, "words": 16, "beams": 8, "encoder_layers": 1}
_SCHEMA = """\
name = "{name}"
licence = "none: generated"
[events]
user = "customer"
item = "sku"
time = "at"
label = "liked"
{moment}
[items.fields]
brand = "id"
title = "text"
[users.fields]
country = "id"
"""


def tables(folder: Path, *, moment: bool = False) -> Path:
    """A folder called as its data set; with `moment` events have a page and an hour, which requests then carry."""
    random = np.random.default_rng(0)
    numbers = random.integers(0, NUM_USERS, NUM_EVENTS), random.integers(0, NUM_ITEMS, NUM_EVENTS)
    events = {
        "customer": [f"anna{number}" for number in numbers[0]],
        "sku": [SKUS[number] for number in numbers[1]],
        "at": 1_700_000_000 + 60 * np.arange(NUM_EVENTS),
        "liked": random.integers(0, 2, NUM_EVENTS),
        "page": random.choice(["cart", "home", "search"], NUM_EVENTS),
        "hour": random.integers(0, 24, NUM_EVENTS),
    }
    folder.mkdir(parents=True)
    pl.DataFrame(events).write_parquet(folder / "events.parquet")
    titles = [f"A thing with a title that is too long for a cell of a table, number {n}" for n in range(NUM_ITEMS)]
    brands = [f"brand {number % 7}" for number in range(NUM_ITEMS)]
    pl.DataFrame({"sku": SKUS, "brand": brands, "title": titles}).write_parquet(folder / "items.parquet")
    users = {"customer": [f"anna{n}" for n in range(NUM_USERS)], "country": [f"c{n % 3}" for n in range(NUM_USERS)]}
    pl.DataFrame(users).write_parquet(folder / "users.parquet")
    said = 'scenario = "page"\n[events.fields]\nhour = "id"\n' if moment else ""
    (folder / "schema.toml").write_text(_SCHEMA.format(name=folder.name, moment=said))
    return folder


def vectors_of(texts: list[str]) -> np.ndarray:
    """Any that follow from the texts, in place of the sentence encoder, whose weights need not be here."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    return np.array([np.random.default_rng(seed).normal(size=sentence_vectors.WIDTH) for seed in seeds], np.float32)


@contextmanager
def registered(root: Path) -> Iterator[Path]:
    """The data sets plain and moment, in a cache below `root`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSERVE_CACHE", str(root / "cache"))
        patch.setattr(sentence_vectors, "encode", vectors_of)
        for name in ("plain", "moment"):
            assert main(["data", "add", str(tables(root / name, moment=name == "moment"))]) == 0
        yield root


def released(name: str, dataset: str, **settings: object) -> tuple[Signature, ...]:
    """A system's release on a registered data set, with random weights that are large enough to matter."""
    system, module, config, data = _untrained(name, dataset, settings)
    return of_origin(system.release(module, config, data), _origin(system, data))


def retriever(name: str, dataset: str, number: int, **settings: object) -> tuple[Signature, ...]:
    """The same, as what lists so many items for a user."""
    system, module, _, data = _untrained(name, dataset, settings)
    listing = system.task.listed_by_user(RETRIEVER, module, data, number)
    return of_origin(listing, _origin(system, data))


def _origin(system: System, data: Data) -> Origin:
    return Origin(system=system.name, task=system.task.name, schema=data.interactions.schema)


def _untrained(name: str, dataset: str, settings: dict[str, object]) -> tuple[System, nn.Module, object, Data]:
    system = SYSTEMS[name]
    config = system.config(**{**system.quick, **settings})
    interactions = datasets.read(dataset)
    wanted = Wanted(system.reads, getattr(config, "max_length", 12), _given(len(interactions.items)))
    data = system.view(system.task.view(interactions, wanted))
    torch.manual_seed(0)
    module = system.build(config, data.schema)
    prepare(module, data)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return system, module.eval(), config, data


def _given(num_items: int) -> dict[str, torch.Tensor]:
    """What a tokenizer's run would give: two ids of sixteen words for each item."""
    codes = torch.arange(num_items)[:, None] // torch.tensor([1, 16]) % 16
    return {"codes": codes, "weights": torch.ones(codes.shape)}


def everything(factory: pytest.TempPathFactory) -> Path:
    """A repository with a system of each task, on the data sets plain, moment and simulated-students; MATT as shop.

    Exported once for all processes of a run of the tests, and copied.
    """
    return once(factory, "everything", _publish)


def _publish(folder: Path) -> None:
    parts = (
        *released("fm", "moment", dim=8),
        *under_name(released("matt", "plain", **SMALL, paths=3), "shop"),
        *released("reg4rec", "plain", **REG4REC),
        *joined(retriever("two_tower", "plain", 30), released("deepfm", "plain", **SMALL)),
        *released("rqvae", "plain", words=8),
        *released("two_tower", "plain"),
        *released("dkt", "simulated-students"),
    )
    publish(folder, parts, Source(kind="factory", name="tests.recserve.releases:everything"))


def with_others(folder: Path) -> Path:
    """The folder with deepfm once more as one that names no data set (nameless), as one of other tables (changed), and
    as one of a system whose part that explains is not there (silent)."""
    said = {"changed": {"schema_digest": "0123456789abcdef"}, "silent": {"system": "gsvr"}, "nameless": {}}
    for name, parameters in said.items():
        shutil.copytree(folder / "deepfm", folder / name)
        for file in CONFIG_FILES:
            config = read_config(folder / name / file)
            config.name = name
            for parameter in {*Identity._fields} & {*config.parameters} if name == "nameless" else ():
                del config.parameters[parameter]
            for parameter, text in parameters.items():
                config.parameters[parameter].string_value = text
            (folder / name / file).write_text(render(config))
    return folder
