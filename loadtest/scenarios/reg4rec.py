"""Traffic of the generator (history and theta) and of generate_then_rank (and the user whom the ranker asks about)."""

import json
from pathlib import Path

import numpy as np

from loadtest.pool import Tensors
from loadtest.scenarios.lrea import source_of
from loadtest.scenarios.scenario import Scenario
from serving.readiness import latest_version

MODEL, JOINT = "reg4rec", "generate_then_rank"
REQUESTS = 512
MEDIAN, SPREAD, LONGEST = 8, 0.7, 50
"""Items of a history: log-normal."""
THETAS = (0.0, 0.5)
LENGTHS = f"their number log-normal (median {MEDIAN}, sigma {SPREAD}, 1 to {LONGEST})"


def requests(repository: Path, seed: int) -> list[Tensors]:
    """Items by a Zipf law over a random order, as the model's files hold no counts."""
    fields = json.loads((latest_version(repository / MODEL) / "schema.json").read_text())["fields"]
    num_items = next(field["cardinality"] for field in fields if field["name"] == "item_id") - 1
    random = np.random.default_rng(seed)
    weights = 1 / (1 + np.random.default_rng(0).permutation(num_items))
    lengths = np.exp(random.normal(np.log(MEDIAN), SPREAD, REQUESTS)).astype(int).clip(1, min(LONGEST, num_items))
    drawn = [1 + random.choice(num_items, length, replace=False, p=weights / weights.sum()) for length in lengths]
    return [_request(history, number) for number, history in enumerate(drawn)]


def joint_requests(repository: Path, seed: int) -> list[Tensors]:
    """Users alike, each with what the ranker's store holds of their history."""
    source = source_of(repository, JOINT)
    users = np.random.default_rng(seed).choice(source.histories.user_ids, REQUESTS)
    drawn = []
    for number, user in enumerate(users.tolist()):
        stored = source.question(user).inputs
        newest_first = stored["history_items"][0, : int(stored["history_length"][0, 0])]
        request = _request(newest_first[::-1][-LONGEST:], number)
        drawn.append({**request, "user_id": np.array([[user]], np.int64)})
    return drawn


def _request(history: np.ndarray, number: int) -> Tensors:
    theta = np.array([[THETAS[number % len(THETAS)]]], np.float32)
    return {"history": history.astype(np.int64)[None], "theta": theta}


GENERATOR = Scenario(
    name=MODEL,
    model=MODEL,
    distribution=f"histories of items by a Zipf law over a random order, {LENGTHS}, theta 0 or 0.5 in turn; "
    f"{REQUESTS} distinct requests",
    requests=requests,
)
GENERATE_THEN_RANK = Scenario(
    name=JOINT,
    model=JOINT,
    distribution=f"users alike with the newest {LONGEST} items of their stored history, theta 0 or 0.5 in turn; "
    f"{REQUESTS} distinct requests",
    requests=joint_requests,
)
