"""Traffic of the MATT ensembles: user id, candidates and a key for the paths."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loadtest.pool import Tensors
from loadtest.scenarios.requests import SIZES, draw
from loadtest.scenarios.scenario import Scenario
from serving.readiness import latest_version

# Locust's processes need only the names of the scenarios; torch would take seconds of their run.
if TYPE_CHECKING:
    from kernels.path_sampling.sampler import Sampler

BASES = ("autoint", "dea", "deepfm")


def sampler_of(repository: Path, name: str) -> "Sampler":
    """The sampler of the newest release."""
    from kernels.path_sampling.sampler import Sampler

    return Sampler.load(latest_version(repository / f"{name}_sampler"))


def requests(repository: Path, seed: int, name: str) -> list[Tensors]:
    """Users and items by how often training saw them, and a key for each request."""
    from kernels.path_sampling.hph import single_keys

    sampler = sampler_of(repository, name)
    users, items = sampler.tables.user_ids, np.arange(1, len(sampler.tables.item_rows))
    counts = [
        1 + sampler.frequencies.singles.lower(single_keys(ids, np.array(field)))
        for ids, field in zip((users, items), sampler.tables.anchors, strict=True)
    ]
    drawn = draw((users, counts[0]), (items, counts[1]), seed)
    return [{**one, "request_key": np.array([[number]], np.int64)} for number, one in enumerate(drawn)]


def _scenario(name: str) -> Scenario:
    return Scenario(
        name=name,
        model=name,
        distribution=f"users and candidates by how often training saw them, {SIZES}, each with its key",
        requests=lambda repository, seed: requests(repository, seed, name),
    )


ENSEMBLES = tuple(_scenario(f"matt_{base}") for base in BASES)
