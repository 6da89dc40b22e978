"""Traffic of DEA's ranker: user id and candidates."""

import json
from pathlib import Path

import numpy as np

from loadtest.pool import Tensors
from loadtest.scenarios.requests import SIZES, draw
from loadtest.scenarios.scenario import Scenario
from serving.readiness import latest_version

MODEL = "dea"


def requests(repository: Path, seed: int) -> list[Tensors]:
    """Users alike; items by a Zipf law over a random order, as the model's files hold no counts."""
    folder = latest_version(repository / MODEL)
    fields = json.loads((folder / "schema.json").read_text())["fields"]
    sizes = {field["name"]: field["cardinality"] for field in fields}
    users, items = (np.arange(1, sizes[name]) for name in ("user_id", "item_id"))
    order = np.random.default_rng(0).permutation(len(items))
    return draw((users, np.ones(len(users))), (items, 1 / (1 + order)), seed)


RANKER = Scenario(
    name=MODEL,
    model=MODEL,
    distribution=f"users alike, candidates by a Zipf law over a random order of the items, {SIZES}",
    requests=requests,
)
