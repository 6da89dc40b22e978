"""What DEA serves: `dea`, user id and candidates -> scores (click probabilities), in one graph."""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.data.fields import FieldData, FieldSplit
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, USER_ID, Requests, fields_of
from training.servable import Packed, Servable, Signature, servable
from training.system import Infer
from training.systems.dea.model import DEA, Config
from training.systems.dea.served import Ranker

_DATASET, _ITEM_COLUMN = "ml-100k-fields", 5
"""The set whose past can be scored, and where its item ids stand among the fields."""


def servables(model: DEA, config: Config, data: FieldData) -> tuple[Signature, ...]:
    """The one model of a release."""
    trained = copy.deepcopy(model).double().eval()
    return (ranker(model, trained, data),)


def ranker(model: DEA, trained: DEA, data: FieldData) -> Servable:
    """The model `dea` of `model`, held to `trained`, the same model in fp64."""
    exact = Ranker(trained, data).eval()

    @torch.no_grad()
    def reference(user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        """The training form, request by request: no packing, no folded table, codebooks not absorbed."""
        scores = []
        for user, items in zip(user_id[:, 0].tolist(), torch.tensor_split(candidates, ends[:-1].long()), strict=True):
            scores.append(torch.sigmoid(trained.logits(fields_of(data, user, items))))
        return (torch.cat(scores),)

    @torch.no_grad()
    def eager64(*tensors: Tensor) -> Packed:
        return exact(*tensors)

    plain = servable(
        name="dea",
        module=Ranker(model, data),
        inputs=(USER_ID, CANDIDATES, OFFSETS),
        outputs=(SCORES,),
        example=Requests(user_ids=data.user_ids, num_items=len(data.item_rows) - 1),
    )
    return replace(plain, reference=reference, eager64=eager64)


def score_split(infer: Infer, split: FieldSplit, config: Config) -> np.ndarray:
    """Served scores float32 [len(split)] in sample order: one request per user.

    Raises ValueError for a set whose users' fields change with time: the model serves their latest values.
    """
    if config.dataset != _DATASET:
        raise ValueError(f"users of '{config.dataset}' change with time, so its past cannot be scored; use {_DATASET}")
    scores = np.zeros(len(split), np.float32)
    for user in np.unique(split.user):
        rows = np.flatnonzero(split.user == user)
        candidates = split.ids[rows, _ITEM_COLUMN]
        scores[rows] = infer("dea", {"user_id": np.array([[user]]), "candidates": candidates[None]})["scores"][0]
    return scores
