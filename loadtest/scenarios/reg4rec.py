"""Traffic of the generator (history and theta) and of generate_then_rank (and the user whom the ranker asks about)."""

import json
from pathlib import Path

import numpy as np

from loadtest.pool import Tensors
from loadtest.scenarios.lrea import DirectRanker, source_of
from loadtest.scenarios.scenario import Scenario
from serving.direct import DirectModel
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


class Direct:
    """The graph in this process."""

    def __init__(self, repository: Path) -> None:
        self.model = DirectModel.open(repository / MODEL)

    def prepare(self, inputs: Tensors) -> Tensors:
        return inputs

    def run(self, prepared: Tensors) -> Tensors:
        """items and scores [1, K], paths [1, K, M, 2], categories [1, K, M], pruned [1, 1]."""
        return self.model.run([prepared])[0]


class DirectJoint:
    """Generator and scorer in this process, with the user's state at hand."""

    def __init__(self, repository: Path) -> None:
        self.generator, self.ranker = DirectModel.open(repository / MODEL), DirectRanker(repository)

    def prepare(self, inputs: Tensors) -> Tensors:
        state = self.ranker.prepare({"user_id": inputs["user_id"], "candidates": np.zeros((1, 0), np.int64)})
        return {**inputs, **{name: array for name, array in state.items() if name != "candidates"}}

    def run(self, prepared: Tensors) -> Tensors:
        """As Direct, the generator's scores as `generator_scores`, and the ranker's."""
        asked = {name: prepared[name] for name in ("history", "theta")}
        listed = self.generator.run([asked])[0]
        state = {name: array for name, array in prepared.items() if name not in (*asked, "user_id")}
        ranked = self.ranker.run({**state, "candidates": listed["items"]})
        named = {"generator_scores" if name == "scores" else name: array for name, array in listed.items()}
        return {**named, **ranked}


GENERATOR = Scenario(
    name=MODEL,
    model=MODEL,
    distribution=f"histories of items by a Zipf law over a random order, {LENGTHS}, theta 0 or 0.5 in turn; "
    f"{REQUESTS} distinct requests",
    requests=requests,
    direct=Direct,
)
GENERATE_THEN_RANK = Scenario(
    name=JOINT,
    model=JOINT,
    distribution=f"users alike with the newest {LONGEST} items of their stored history, theta 0 or 0.5 in turn; "
    f"{REQUESTS} distinct requests",
    requests=joint_requests,
    direct=DirectJoint,
)
