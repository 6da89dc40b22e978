"""What HeterRec serves.

    heterrec_user      history -> vector
    heterrec_item      fields and content of any item -> vector; its product with a user's vector is the score
    heterrec_step      an item, and what is kept of earlier ones -> vector, and what is kept then
    heterrec_tokens    history, item -> what each token of the newest behaviours counts for, for explanations
    heterrec           history -> items, scores; tokens and vectors of all items are constants in the graph

Legend: B requests.
"""

import copy
from dataclasses import replace

import numpy as np
import torch

from training.data.columns import columns
from training.data.sequences import SequenceData, item_layout
from training.layers.folded import Folded
from training.layers.served_lists import MAX_BATCH_SIZE, OFFSETS, history_spec
from training.schema import Field, width_of
from training.servable import Packed, Servable, Signature, TensorSpec, servable
from training.systems.heterrec.model import Config, HeterRec
from training.systems.heterrec.parts import NEWEST, ItemVector, TokenEffects, UserVector
from training.systems.heterrec.step import Step
from training.tasks.next_item import served_list

_LARGEST = 1e6
"""Of what is kept, in magnitude."""
_EXPLAINED = 4
"""Requests of a run of `heterrec_tokens`, each of which is many histories."""


def servables(name: str, module: HeterRec, config: Config, data: SequenceData) -> tuple[Signature, ...]:
    """The models of a release; `heterrec_item` is left out where items have nothing but an id."""
    module = copy.deepcopy(module).eval()
    listed = served_list(name, module, data, Folded)
    parts = (
        _user(name, module, data, listed),
        *([_item(name, module, data)] if len(module.names) > 1 else []),
        _step(name, module, data),
        _tokens(name, module, data, listed),
    )
    return *parts, listed


def _user(name: str, module: HeterRec, data: SequenceData, listed: Servable) -> Servable:
    return servable(
        name=f"{name}_user",
        module=UserVector(module),
        inputs=(history_spec(data), OFFSETS),
        outputs=(TensorSpec(name="vector", dtype="float32", shape=(module.config.dim,)),),
        example=listed.example,
        max_batch_size=MAX_BATCH_SIZE,
    )


def _item(name: str, module: HeterRec, data: SequenceData) -> Servable:
    layout, sides = item_layout(data.schema), module.sides
    content = [data.schema[one] for one in sides.content]
    frame, vectors = data.interactions.items, [getattr(data.content, one) for one in sides.content]
    values = columns(frame, layout)

    def example(size: int, seed: int) -> Packed:
        """Items of the catalogue, the unknown one first."""
        items = np.append(0, np.random.default_rng(seed).integers(0, len(frame), size - 1))
        of = values.rows(items)
        dense, sets, given = iter(of.dense.T), iter(layout.sets), []
        for place, field in enumerate(layout.fields):
            if field.kind == "multi":
                one = next(sets)
                given.append(of.sets[:, one.start : one.stop])
            else:
                given.append((of.ids[:, place] if field.kind == "id" else next(dense))[:, None])
        return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in (*given, *(v[items] for v in vectors)))

    return servable(
        name=f"{name}_item",
        module=ItemVector(module, layout),
        inputs=tuple(_described(field) for field in (*layout.fields, *content)),
        outputs=(TensorSpec(name="vector", dtype="float32", shape=(module.config.dim,)),),
        example=example,
        max_batch_size=MAX_BATCH_SIZE,
    )


def _described(field: Field) -> TensorSpec:
    """The input that says a field, or a frozen vector of norm 1."""
    if field.kind == "vector":
        return TensorSpec(name=field.name, dtype="float32", shape=(width_of(field),), minimum=-2, maximum=2)
    if field.kind == "dense":
        return TensorSpec(name=field.name, dtype="float32", shape=(1,), missing=True)
    return TensorSpec(name=field.name, dtype="int64", shape=(width_of(field) if field.kind == "multi" else 1,))


def _step(name: str, module: HeterRec, data: SequenceData) -> Servable:
    step = Step(module).eval()
    kept = TensorSpec(name="past", dtype="float32", shape=(step.kept,), minimum=-int(_LARGEST), maximum=int(_LARGEST))
    events = TensorSpec(name="events", dtype="int64", shape=(1,), minimum=0, maximum=module.max_length - 1)
    item = TensorSpec(name="item", dtype="int64", shape=(1,), ids=data.interactions.ids.get("item"))

    @torch.no_grad()
    def example(size: int, seed: int) -> Packed:
        """After none, one and more events of users."""
        random = np.random.default_rng(seed)
        users = [data.sequences[user] for user in random.integers(0, len(data.sequences), size).tolist()]
        events = torch.tensor([min(number, len(one) - 1, module.max_length - 1) for number, one in enumerate(users)])
        padded = np.stack([np.resize(one, module.max_length) for one in users])
        items, past = torch.from_numpy(padded.astype(np.int64)), torch.zeros(size, step.kept)
        for number in range(int(events.max())):
            done = torch.full((size, 1), number)
            past = torch.where((events > number)[:, None], step(items[:, number, None], done, past)[1], past)
        return items.gather(1, events[:, None]), events[:, None], past

    return servable(
        name=f"{name}_step",
        module=step,
        inputs=(item, events, kept),
        outputs=(TensorSpec(name="vector", dtype="float32", shape=(module.config.dim,)), replace(kept, name="kept")),
        example=example,
        max_batch_size=MAX_BATCH_SIZE,
    )


def _tokens(name: str, module: HeterRec, data: SequenceData, listed: Servable) -> Servable:
    number = len(data.interactions.items)

    def example(size: int, seed: int) -> Packed:
        items = np.random.default_rng(seed).integers(0, number, (size, 1))
        return *listed.example(size, seed), torch.from_numpy(items)

    return servable(
        name=f"{name}_tokens",
        module=TokenEffects(module, torch.from_numpy(data.train_item_counts)),
        inputs=(
            history_spec(data),
            OFFSETS,
            TensorSpec(name="item", dtype="int64", shape=(1,), ids=data.interactions.ids.get("item")),
        ),
        outputs=(TensorSpec(name="effects", dtype="float32", shape=(NEWEST, len(module.names))),),
        example=example,
        max_batch_size=_EXPLAINED,
    )
