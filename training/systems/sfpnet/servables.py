"""What SFPNet serves: the user in a scenario once per request, then the candidates.

    sfpnet_history   user id -> history, profile
    sfpnet_scene     these -> behaviours tailored to each scenario that the request needs
    sfpnet_scorer    these, candidates -> scores
    sfpnet           user id, candidates -> scores: all three

Where blocks see the candidate there is no such split, and the release is the task's plain one.

No store of states keeps what sfpnet_scene gives, as it keeps LREA's (our choice): all behaviours, tailored to each
scenario, are 131 kB of a user with the default sizes and three scenarios and the unknown one, 32 times the history that
they follow from and as many times a state of LREA's; `recserve study sfpnet-cost` says how small a part of a request
making them is.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from training.data.click import ClickData
from training.layers.click_context import context_specs
from training.layers.click_release import HISTORY_BATCH, bounded, most_candidates, plain_release, reference_of, requests
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, USER_ID, asked
from training.layers.users import user_step
from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, Signature, TensorSpec
from training.systems.sfpnet.model import Config, SFPNet
from training.systems.sfpnet.served import Scene, SceneScorer

LENGTH = "history_length"


def scene_specs(config: Config, num_scenes: int) -> tuple[TensorSpec, ...]:
    """What the first graph gives: for the second, and for people."""
    sizes = {
        "tailored": (num_scenes, config.max_length, config.dim),
        "person": (num_scenes, config.dim),
        "moved": (num_scenes, config.max_length),
        "gates": (num_scenes, 2 * config.blocks),
    }
    kept = {name: shape for name, shape in sizes.items() if all(shape)}
    return tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in kept.items())


def servables(name: str, model: SFPNet, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The models of a release."""
    if config.item_in_context or not config.blocks:
        return plain_release(name, model, data)
    most, context = most_candidates(data), context_specs(data)
    example, wanted = requests(data, most), asked(data.interactions, most)
    users = user_step(name, data, tuple(wanted), lambda number, seed: example(number, seed)[:3])
    exact = copy.deepcopy(model).double().eval()
    forms = [(Scene(one, data), SceneScorer(one, data)) for one in (model.eval(), exact)]
    answers = [Answers(users, scene, scorer) for scene, scorer in forms]
    (scene, scorer), specs = forms[0], scene_specs(config, forms[0][0].num_scenes)
    by_event = tuple(spec for spec in context if spec.name == forms[0][1].scenario.name)
    length = next(spec for spec in users.outputs if spec.name == LENGTH)
    first = Servable(
        name=f"{name}_scene",
        module=scene,
        inputs=(*map(bounded, users.outputs), *context),
        outputs=specs,
        example=lambda number, seed: answers[0].rows(*example(number, seed)),
        eager=answers[0].scene_of,
        max_batch_size=HISTORY_BATCH,
    )
    second = Servable(
        name=f"{name}_scorer",
        module=scorer,
        inputs=(wanted.candidates, OFFSETS, *specs[:2], bounded(length), *by_event),
        outputs=(SCORES,),
        example=lambda number, seed: answers[0].given(*example(number, seed)),
        eager=answers[0].score_of,
        max_batch_size=HISTORY_BATCH,
    )
    ensemble = EnsembleServable(
        name=name,
        inputs=(*wanted, *context),
        outputs=(SCORES,),
        example=example,
        eager=answers[0].rank,
        eager64=answers[1].rank,
        reference=reference_of(model, data),
        max_batch_size=HISTORY_BATCH,
        steps=_steps((users, first, second), context),
        reads_histories=True,
    )
    return users, first, second, ensemble


class Answers:
    """The eager answers of both graphs in one dtype."""

    def __init__(self, users: Signature, scene: Scene, scorer: SceneScorer) -> None:
        self.users, self.scene, self.scorer = users, scene.eval(), scorer.eval()
        self.dtype = scorer.targets.dtype
        names = [spec.name for spec in users.outputs]
        self.length = names.index(LENGTH)
        self.by_event = scene.rows.names.index(scorer.scenario.name) if scorer.scenario.name else None

    def rows(self, user_id: Tensor, candidates: Tensor, ends: Tensor, *moment: Tensor) -> Packed:
        """What the first graph takes."""
        rows = (*self.users.eager(user_id, candidates, ends), *moment)
        return tuple(part.to(self.dtype) if part.is_floating_point() else part for part in rows)

    @torch.no_grad()
    def scene_of(self, *rows: Tensor) -> Packed:
        return self.scene(*rows)

    @torch.no_grad()
    def score_of(self, *tensors: Tensor) -> Packed:
        return self.scorer(*tensors)

    def given(self, user_id: Tensor, candidates: Tensor, ends: Tensor, *moment: Tensor) -> Packed:
        """What the second graph takes."""
        rows = self.rows(user_id, candidates, ends, *moment)
        tailored, person = self.scene_of(*rows)[:2]
        by_event = () if self.by_event is None else (rows[self.by_event],)
        return candidates, ends, tailored, person, rows[self.length], *by_event

    def rank(self, *request: Tensor) -> Packed:
        return self.score_of(*self.given(*request))


def _steps(parts: tuple[Signature, Signature, Signature], context: tuple[TensorSpec, ...]) -> tuple[EnsembleStep, ...]:
    users, scene, scorer = parts
    rows, found = _same(users.outputs), _same(scene.outputs[:2])
    by_event = _same(spec for spec in context if spec.name in {one.name for one in scorer.inputs})
    second = {**_same((CANDIDATES,)), **found, LENGTH: LENGTH, **by_event}
    return (
        EnsembleStep(model=users.name, inputs=_same((USER_ID, CANDIDATES)), outputs=rows),
        EnsembleStep(model=scene.name, inputs={**rows, **_same(context)}, outputs=found),
        EnsembleStep(model=scorer.name, inputs=second, outputs=_same((SCORES,))),
    )


def _same(specs: Iterable[TensorSpec]) -> dict[str, str]:
    return {spec.name: spec.name for spec in specs}
