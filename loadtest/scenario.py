"""The traffic of a served model, which is what its task asks, and the right answers, from this process.

A model of no system here has no task: it is asked the golden requests of its release.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export import logged
from export.artifacts import GOLDEN_FILE
from export.further import complete, drawn, further
from export.release_ids import known
from export.served import Served, data_of, published, system_of
from loadtest.pool import Tensors
from serving import golden
from serving.configs import read_config
from serving.in_process import InProcessModel
from serving.readiness import models
from serving.state.builder import models_with_states
from serving.versions import served_version
from serving.watch.pseudonyms import USER_ID
from training.system import Task
from training.traffic import LARGEST

REQUESTS = 512
"""Of one pool."""


class Direct:
    """The same question answered in this process: what is right, and the floor of every latency.

    The floor is what the server's own backends compute, without the server: all steps of an ensemble, one after the
    other. A state that a step keeps is at hand, in memory, as it is for a user whom the store knows.
    """

    def __init__(self, model: Path) -> None:
        """The newest version in a model's folder. Raises ValueError where it cannot run here."""
        self._model = InProcessModel.open(model)

    def prepare(self, inputs: Tensors) -> Tensors:
        """The request, of which what a server has at hand before it computes is at hand now: the user's state."""
        if self._model.keeps_states:
            self.run(inputs)
        return inputs

    def run(self, prepared: Tensors) -> Tensors:
        """The outputs of one request, alone. This is what the floor times."""
        return self._model.run([dict(prepared)])[0]


class Scenario(NamedTuple):
    """The traffic of one served model: nothing of it depends on the system but the inputs that its configuration names.

    A repository without the model, and a model of a data set that is not here or has changed, raise ValueError.
    """

    model: str
    """The model that requests go to."""
    log: Path | None = None
    """Folder of a log whose requests are asked, in place of drawn ones."""

    def distribution(self, repository: Path) -> str:
        """What the requests are drawn from, in words: printed in the report."""
        if self.log is not None:
            return f"requests of a log, at most {REQUESTS} and those evenly over it"
        task = _task(published(repository, self.model))
        if task is None:
            return "the golden requests of the release, which its own example drew"
        return f"{task.traffic}; {REQUESTS} requests"

    def requests(self, repository: Path, seed: int) -> list[Tensors]:
        """Requests of users of the model's data set, drawn with its skew; everything follows from the seed. A model of
        no system is asked its goldens, whatever the seed, and where there is a log, its requests are asked."""
        if self.log is not None:
            return self._logged(repository, self.log)
        served = published(repository, self.model)
        task = _task(served)
        if task is None:
            return [one.inputs for one in golden.read(served_version(repository / self.model) / GOLDEN_FILE)]
        interactions, random = data_of(served), np.random.default_rng(seed)
        asked = task.questions(interactions, random, REQUESTS, served.most("candidates", LARGEST))
        requests = [task.request(interactions, question) for question in asked]
        for name, tensor in further(served, requests[0]).items():
            for request, value in zip(requests, drawn(served, interactions, tensor, random, REQUESTS), strict=True):
                request[name] = value
        return [complete(served, request) for request in requests]

    def _logged(self, repository: Path, log: Path) -> list[Tensors]:
        version = int(served_version(repository / self.model).name)
        users = known(repository, self.model, version, USER_ID)
        return [one.inputs for one in logged.named(logged.read(log, self.model, REQUESTS), log, users)]

    def direct(self, repository: Path) -> Direct:
        """The model in this process."""
        return Direct(repository / self.model)


def _task(served: Served) -> Task | None:
    """None of a model of somebody's own."""
    is_own = served.identity.system is None and served.identity.part_of is None
    return None if is_own else system_of(served).task


def with_states(repository: Path, model: str | None) -> Scenario:
    """The traffic of that ensemble, or else of the only one that keeps users' states.

    Raises ValueError where there is none, or more than one and none is named.
    """
    kept = {*models_with_states(repository)}
    found = [
        path.name
        for path in models(repository, "cpu")
        if model in (None, path.name) and kept & {step.model_name for step in steps_of(path)}
    ]
    if len(found) != 1:
        which = (
            f"model '{model}' is none that keeps users' states" if model else f"{len(found)} models keep users' states"
        )
        there = f": {', '.join(found)}; say which one" if found else "; publish one that does, such as the demo's"
        raise ValueError(f"{repository}: {which}{there}")
    return Scenario(found[0])


def steps_of(model: Path) -> Sequence[Any]:
    """The models of an ensemble, in order; none of any other model."""
    return read_config(model, "gpu").ensemble_scheduling.step
