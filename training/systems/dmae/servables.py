"""What DMAE serves, and what `recserve ask --explain` tells of it.

    dmae_history    user id -> the user's history
    dmae_scorer     candidates, histories -> scores; the vectors of a history are read once for all its candidates
    dmae_interest   one candidate and a history -> similarities and weights of the events, for explanations
    dmae            user id, candidates -> scores: the history, then the scorer

Legend: B requests, C candidates packed over them, L longest history, M modalities.
"""

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.asking import NO_EVENTS, Infer, Shown, Tensors, ordered
from training.data.click import ClickBatch, ClickData
from training.interactions import Interactions
from training.layers.click_release import HISTORY_ELEMENTS, Scorer, behind_rows
from training.layers.requests import CANDIDATES, USER_ID
from training.schema import Field
from training.servable import Packed, Signature, TensorSpec, servable
from training.systems.dmae.model import DMAE, Config, Past
from training.systems.dmae.units import LEVELS, Vectors

MOST, SHOWN = 3, 5
"""Candidates that are explained, and events of each."""
_SIMILAR, _WEIGHT = "similarity", "weight"
_HISTORY = ("history_items", "history_values", "history_ages", "history_length")


class Folded(nn.Module):
    """What depends on weights alone, worked out once: the vectors of eq. (4)."""

    def __init__(self, model: DMAE) -> None:
        super().__init__()
        with torch.no_grad():
            for number, vectors in enumerate(model.vectors()):
                for name, table in vectors._asdict().items():
                    self.register_buffer(f"{name}_{number}", table)
        self.number = len(model.config.modalities)

    def forward(self) -> list[Vectors]:
        return [Vectors(*(self.get_buffer(f"{name}_{one}") for name in Vectors._fields)) for one in range(self.number)]


class OnceForRequests(Scorer):
    """The plain scorer, but each request's history is compared with all its candidates at once."""

    def __init__(self, model: DMAE, data: ClickData) -> None:
        super().__init__(model, data)
        self.folded = Folded(model)

    def logits(self, batch: ClickBatch, request: Int[Tensor, " C"], rows: dict[str, Tensor]) -> Float[Tensor, " C"]:
        assert isinstance(self.module, DMAE)
        compared = self.module.compare_requests(batch.item, rows["history_items"], request)
        return self.module.predict(batch, compared, self.folded()).logits


class Reasons(nn.Module):
    """One item and a history -> of each event and modality the similarity r, -1 where there is none, and the weight."""

    def __init__(self, model: DMAE) -> None:
        super().__init__()
        self.model, self.folded = model, Folded(model)

    def forward(
        self,
        item: Int64[Tensor, "B 1"],
        history_items: Int64[Tensor, "B L"],
        history_values: Int64[Tensor, "B L"],
        history_ages: Int64[Tensor, "B L"],
        history_length: Int64[Tensor, "B 1"],
    ) -> Packed:
        compared = self.model.compare(item[:, 0], history_items)
        mask = self.model.mask(item[:, 0], history_items, history_length[:, 0])
        interests = self.model.interests(Past(history_values, history_ages, mask), compared, self.folded())
        similar = [
            torch.where(part.mask > 0, one.level.to(mask.dtype) / LEVELS, -1.0)
            for one, part in zip(compared, interests, strict=True)
        ]
        return *similar, *(one.weights for one in interests)


def elements(config: Config) -> int:
    """Candidates times events of one request at most. Beside the hundred numbers of plain target attention for each of
    them, the units hold twice as many, and full attention three more for each event of the history."""
    return HISTORY_ELEMENTS // (3 + (config.max_length // 32 if config.fusion == "attention" else 0))


def servables(name: str, model: DMAE, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The four models of a release."""
    model = model.eval()
    served, exact = (OnceForRequests(one, data) for one in (model, copy.deepcopy(model).double()))
    users, scorer, ensemble = behind_rows(name, served, exact, model, data, elements(config))
    asked = {spec.name: spec for spec in (*ensemble.inputs, *scorer.inputs)}
    number = len(data.interactions.items)

    def example(size: int, seed: int) -> Packed:
        found = dict(
            zip((spec.name for spec in users.outputs), users.eager(*ensemble.example(size, seed)[:3]), strict=True)
        )
        items = np.random.default_rng(seed).integers(0, number, (size, 1))
        return torch.from_numpy(items), *(found[one] for one in _HISTORY)

    reasons = servable(
        name=f"{name}_interest",
        module=Reasons(model),
        inputs=(
            TensorSpec(name="item", dtype="int64", shape=(1,), ids=asked[CANDIDATES.name].ids),
            *(asked[one] for one in _HISTORY),
        ),
        outputs=tuple(
            TensorSpec(name=f"{kind}_{modality}", dtype="float32", shape=(data.max_length,))
            for kind in (_SIMILAR, _WEIGHT)
            for modality in config.modalities
        ),
        example=example,
        max_batch_size=ensemble.max_batch_size,
    )
    return users, scorer, reasons, ensemble


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """A table for each of the best candidates: the events that counted most, how like them it is in each modality, and
    what they weighed."""
    best = ordered(answer["scores"][0])[:MOST]
    candidates = request[CANDIDATES.name][:, best]
    user = {USER_ID.name: request[USER_ID.name], CANDIDATES.name: candidates}
    history = {name: array for name, array in infer(f"{model}_history", user).items() if name in _HISTORY}
    return [
        _reasons(interactions, item, history, infer(f"{model}_interest", {"item": candidates[:, [place]], **history}))
        for place, item in enumerate(candidates[0].tolist())
    ]


def _reasons(interactions: Interactions, item: Any, history: Tensors, found: Tensors) -> Shown:
    names = [name.removeprefix(f"{_WEIGHT}_") for name in found if name.startswith(_WEIGHT)]
    similar, weights = (np.stack([found[f"{kind}_{name}"][0] for name in names], 1) for kind in (_SIMILAR, _WEIGHT))
    most = [place for place in np.argsort(-weights.sum(1), kind="stable")[:SHOWN] if weights[place].any()]
    titles = [interactions.titles[number] for number in history["history_items"][0][most]]
    liking = next(iter(interactions.schema.of("value", "event")), None)
    rows: list[list[object]] = [
        [
            title,
            _said(liking, int(history["history_values"][0][place])),
            *(float(one) if one >= 0 else "" for one in similar[place]),
            *map(float, weights[place]),
        ]
        for title, place in zip(titles, most, strict=True)
    ]
    why = "" if rows else "none of this user's events counted for it" if history["history_length"].any() else NO_EVENTS
    return Shown(
        (why,) if why else (),
        f"events that counted for {interactions.titles[interactions.dense('item', item)]} (item {item}): how like it "
        "they are, from 0 to 1, and their weight",
        ("event", "liked" if liking is None else liking.name, *names, *(f"weight by {name}" for name in names)),
        rows,
    )


def _said(liking: Field | None, value: int) -> str:
    """How much an event was liked, as the data set says it; where it does not, histories hold what was liked alone."""
    if liking is None:
        return "yes"
    return liking.values[value] if liking.values and 0 <= value < len(liking.values) else str(value)
