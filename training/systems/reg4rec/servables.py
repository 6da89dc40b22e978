"""What REG4Rec serves: a history -> ranked items with scores, paths, categories and the share that was pruned.

    reg4rec   history, theta -> items, scores, paths, categories, pruned

Legend: B requests, H history items packed over them, K beams, M codebooks, D words.
"""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.asking import Infer, Shown, Tensors
from training.data.sequences import SequenceData
from training.interactions import Interactions
from training.layers.served_lists import (
    MAX_BATCH_SIZE,
    OFFSETS,
    Requests,
    history_spec,
    items_spec,
    one_by_one,
)
from training.servable import NO_SCORE, Packed, Servable, TensorSpec, servable
from training.systems.reg4rec.config import Config
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.served import Recommender

THETA = TensorSpec(name="theta", dtype="float32", shape=(1,), minimum=0, maximum=1)
_THETAS = (0.0, 0.5, 1.0, 0.25)


def outputs(config: Config, data: SequenceData) -> tuple[TensorSpec, ...]:
    """Lists are as long as there are beams; item 0 (score -1e9, path -1) fills what a request has fewer of. A step of a
    path is codebook and word."""
    steps = (config.beams, config.shape.codebooks)
    return (
        items_spec(data, config.beams),
        TensorSpec(name="scores", dtype="float32", shape=(config.beams,)),
        TensorSpec(name="paths", dtype="int32", shape=(*steps, 2)),
        TensorSpec(name="categories", dtype="int32", shape=steps),
        TensorSpec(name="pruned", dtype="float32", shape=(1,)),
    )


def thetas(count: int) -> Packed:
    """float32 [count, 1]"""
    return (torch.from_numpy(np.resize(_THETAS, count).astype(np.float32)[:, None]),)


def servables(name: str, model: Reg4Rec, config: Config, data: SequenceData) -> tuple[Servable]:
    """The one model of a release of `name`."""
    module = Recommender(copy.deepcopy(model)).eval()
    plain = servable(
        name=name,
        module=module,
        inputs=(history_spec(data), OFFSETS, THETA),
        outputs=outputs(config, data),
        example=lambda batch_size, seed: (),
        max_batch_size=MAX_BATCH_SIZE,
    )
    double = Recommender(copy.deepcopy(model).double()).eval()

    @torch.no_grad()
    def alone(history: Tensor, ends: Tensor, theta: Tensor) -> Packed:
        """Each history by itself, neither packed nor padded."""
        read = one_by_one(history, ends, config.max_length)
        found = [double.answer(one, torch.tensor([one.shape[1]]), theta[row]) for row, one in enumerate(read)]
        return tuple(torch.cat(column) for column in zip(*found, strict=True))

    requests = Requests(data=data, answer=plain.eager, max_length=config.max_length, beside=thetas)
    eager64 = torch.no_grad()(double.forward)
    return (replace(plain, example=requests, eager64=eager64, reference=alone),)


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """The path of tokens that led to each item, and the category that was expected after each of them."""
    rows: list[list[object]] = []
    for place, item in enumerate(answer["items"][0].tolist()):
        if interactions.dense("item", item) and answer["scores"][0, place] > NO_SCORE:
            path = " ".join(f"{codebook}:{word}" for codebook, word in answer["paths"][0, place].tolist())
            rows.append([item, path, " ".join(map(str, answer["categories"][0, place].tolist()))])
    pruned = float(answer["pruned"][0, 0])
    title = f"how they were reached; {pruned:.0%} of the checked paths were pruned"
    return [Shown((), title, ("item", "path (codebook:word)", "categories"), rows)]
