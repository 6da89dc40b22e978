"""Traffic of LREA's ranker (user id and candidates) and of its scorer (state and candidates)."""

from pathlib import Path

import numpy as np

from loadtest.pool import Tensors
from loadtest.scenarios.scenario import Scenario
from serving.configs import read_config
from serving.direct import DirectModel
from serving.state.builder import latest
from serving.state.source import StateSource

RANKER_MODEL = "lrea"
REQUESTS = 512
MEDIAN, SPREAD, LARGEST = 100, 0.8, 1000
"""Candidates of a request: log-normal."""
DISTRIBUTION = (
    f"users by the length of their stored history, candidates by how often they occur in the histories, their number "
    f"log-normal (median {MEDIAN}, sigma {SPREAD}, 1 to {LARGEST}); {REQUESTS} distinct requests"
)


def ranker_requests(repository: Path, seed: int) -> list[Tensors]:
    """user_id [1, 1] and candidates [1, n]."""
    random = np.random.default_rng(seed)
    source = source_of(repository)
    users = source.histories.user_ids
    items, lengths = _history(source)
    popular, counts = np.unique(items, return_counts=True)
    drawn = random.choice(users, REQUESTS, p=lengths / lengths.sum())
    sizes = np.exp(random.normal(np.log(MEDIAN), SPREAD, REQUESTS)).astype(int).clip(1, LARGEST)
    return [
        {
            "user_id": np.array([[user]], np.int64),
            "candidates": random.choice(popular, size, p=counts / counts.sum()).astype(np.int64)[None],
        }
        for user, size in zip(drawn, sizes, strict=True)
    ]


def source_of(repository: Path, ranker: str = RANKER_MODEL) -> StateSource:
    """Histories and states of the ranker, which is not the only one that has some where several are served."""
    return latest(repository, steps_of(repository, ranker)[-2])


def steps_of(repository: Path, ensemble: str) -> list[str]:
    """The models of an ensemble, in order: last the user's state and the scorer."""
    return [step.model_name for step in read_config(repository / ensemble, "gpu").ensemble_scheduling.step]


def _history(source: StateSource) -> tuple[np.ndarray, np.ndarray]:
    """All items of all histories, and the number of each user's events."""
    rows = [source.histories.of(int(user)) for user in source.histories.user_ids]
    lengths = np.array([row["history_length"][0, 0] for row in rows if row])
    items = np.concatenate([row["history_items"][0, : row["history_length"][0, 0]] for row in rows if row])
    return items, lengths


def scorer_requests(repository: Path, seed: int) -> list[Tensors]:
    """The ranker's requests with the state instead of the user."""
    source = source_of(repository)
    encoder = DirectModel.open(repository / source.spec.encoder)
    drawn = []
    for inputs in ranker_requests(repository, seed):
        history = source.question(int(inputs["user_id"][0, 0])).inputs
        drawn.append({"candidates": inputs["candidates"], **encoder.run([history])[0]})
    return drawn


RANKER = Scenario(
    name=RANKER_MODEL,
    model=RANKER_MODEL,
    distribution=DISTRIBUTION,
    requests=ranker_requests,
)
SCORER = Scenario(
    name="lrea_scorer",
    model="lrea_scorer",
    distribution=f"{DISTRIBUTION}; the user's state travels with the request",
    requests=scorer_requests,
)
