"""What REG4Rec serves: a history -> ranked items with scores, paths, categories and the share that was pruned.

    reg4rec   history, theta -> items, scores, paths, categories, pruned

Legend: B requests, H history items packed over them, K beams, M codebooks, D words.
"""

import copy
from dataclasses import replace

import numpy as np
import torch

from training.data.sequences import SequenceData
from training.layers.served_lists import HISTORY, MAX_BATCH_SIZE, OFFSETS, Requests
from training.servable import Packed, Signature, TensorSpec, servable
from training.systems.reg4rec.config import Config
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.served import Recommender

THETA = TensorSpec(name="theta", dtype="float32", shape=(1,), minimum=0, maximum=1)
_THETAS = (0.0, 0.5, 1.0, 0.25)


def outputs(config: Config) -> tuple[TensorSpec, ...]:
    """Lists are as long as there are beams; item 0 (score -1e9, path -1) fills what a request has fewer of. A step of a
    path is codebook and word."""
    steps = (config.beams, config.shape.codebooks)
    return (
        TensorSpec(name="items", dtype="int64", shape=(config.beams,)),
        TensorSpec(name="scores", dtype="float32", shape=(config.beams,)),
        TensorSpec(name="paths", dtype="int32", shape=(*steps, 2)),
        TensorSpec(name="categories", dtype="int32", shape=steps),
        TensorSpec(name="pruned", dtype="float32", shape=(1,)),
    )


def thetas(count: int) -> Packed:
    """float32 [count, 1]"""
    return (torch.from_numpy(np.resize(_THETAS, count).astype(np.float32)[:, None]),)


def servables(name: str, model: Reg4Rec, config: Config, data: SequenceData) -> tuple[Signature, ...]:
    """The one model of a release of `name`."""
    module = Recommender(copy.deepcopy(model)).eval()
    plain = servable(
        name=name,
        module=module,
        inputs=(HISTORY, OFFSETS, THETA),
        outputs=outputs(config),
        example=lambda batch_size, seed: (),
        max_batch_size=MAX_BATCH_SIZE,
    )
    requests = Requests(data=data, answer=plain.eager, max_length=config.max_length, beside=thetas)
    return (replace(plain, example=requests),)
