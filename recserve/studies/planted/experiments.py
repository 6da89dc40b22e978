"""DEA on data with planted structure: does the memory hold pairs, does the filter close on a collapsed field?

Legend: B batch, N samples, F fields.
"""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from kernels.combo_id_attention import reference
from recserve.studies.planted.data import COLLAPSED, ITEM_COLUMN, USER_COLUMN, collapse_data, liked_pairs, pair_data
from training.data.click import ClickData, ClickSplit
from training.data.columns import Columns
from training.fit import FitOptions, fit, predict
from training.layers.columns import Features
from training.metrics import auc
from training.schema import Schema
from training.system import System
from training.systems.dea import DEA, SYSTEM, Config, codebooks, stages
from training.systems.dea.model import Codes, Layer, PairMemory

_SMALL = Config(hidden=(32, 16), dropout=0.0, batch_size=512, weight_decay=0.01, unknown_rate=0.0, codebook_rows=2**12)
_RICH = 0.3
"""Deviation of the collapse experiment's first embeddings: large enough for tables to keep all directions."""


class Trained(NamedTuple):
    """What a training came to."""

    model: DEA
    epochs: list[float]
    """AUC on the validation part."""
    test_auc: float


def train(system: System, config: Config, data: ClickData, seed: int) -> Trained:
    """One run of all epochs through the project's own loop, in a folder that is thrown away."""
    patient = replace(system, stages=lambda c: [replace(stage, patience=c.epochs) for stage in system.stages_of(c)])
    with tempfile.TemporaryDirectory(prefix="recserve-planted-") as folder:
        result = fit(patient, config, data, FitOptions(run=Path(folder) / "run", seed=seed, quiet=True))
        lines = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    epochs = [line["validation"]["auc"] for line in lines if line["kind"] == "epoch"]
    assert isinstance(result.module, DEA)
    return Trained(result.module, epochs, result.metrics["test"]["auc"])


class MemoryAlone(DEA):
    """Logit = A^c of user_id and item_id in the first head: what the codebooks and the gate hold without the rest."""

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        layer, pairs_of = self.layers[0], self.pairs(x.ids, keep)
        assert isinstance(layer, Layer)
        heads = reference.split(layer.tokens(self.embedding(x, keep)), layer.heads)
        share = reference.gate(heads, heads)[:, 0, pairs_of.left, pairs_of.right]
        return layer.pair_scores(share, pairs_of.codes, pairs_of.kept)[:, 0, USER_COLUMN, ITEM_COLUMN]


class OneCodebook(PairMemory):
    """The control for collisions: a single codebook, whatever the gate says."""

    def forward(self, ids: Int64[Tensor, "B F"]) -> Codes:
        code = self.dropout(nn.functional.embedding(self.rows(ids)[0], self.first))
        return Codes(code, code)


def one_codebook(config: Config, schema: Schema) -> MemoryAlone:
    """A memory that is one codebook of `codebook_rows`."""
    model = MemoryAlone(config, schema)
    model.memory = OneCodebook(model.embedding.fields, config)
    return model


def all_but_codebooks(module: nn.Module) -> list[nn.Parameter]:
    """Parameters of a stage that leaves the memory empty."""
    memory = {id(rows) for rows in codebooks(module)}
    return [parameter for parameter in module.parameters() if id(parameter) not in memory]


WITHOUT_CODEBOOKS = replace(
    SYSTEM, stages=lambda config: [replace(stages(config)[0], parameters=all_but_codebooks, groups=())]
)
"""DEA that never learns a pair code."""
GATED_TWO = replace(SYSTEM, build=MemoryAlone)
ONE_CODEBOOK = replace(SYSTEM, build=one_codebook)


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """AUC on labels that only pairs explain."""

    best: float
    """On the test part: of the table that the labels were drawn from."""
    epochs_with: list[float]
    """Validation, epoch by epoch."""
    epochs_without: list[float]
    with_codebooks: float
    """Test, as all below."""
    zeroed: float
    """The same model, its codebooks emptied afterwards."""
    without: float
    """Trained without codebooks."""
    rows: int
    """In all, of the memories below; most pairs collide."""
    gated_two: float
    """The memory alone: two codebooks and the gate."""
    one_codebook: float


def pairs(seed: int = 0, *, epochs: int = 8, rows: int = 64) -> PairResult:
    """The planted-pair experiment; `rows` is the size of the first of two small codebooks."""
    data = pair_data(seed)
    config = replace(_SMALL, dim=8, hidden=(16, 8), epochs=epochs, learning_rate=6e-3, code_rate=3.0)
    remembering = train(SYSTEM, config, data, seed)
    forgetful = train(WITHOUT_CODEBOOKS, config, data, seed)
    gated = train(GATED_TWO, replace(config, codebook_rows=rows), data, seed)
    single = train(ONE_CODEBOOK, replace(config, codebook_rows=2 * rows - 1), data, seed)
    zero(remembering.model)
    ids = fields_of(data.test).ids
    return PairResult(
        best=auc(data.test.label, liked_pairs(seed)[ids[:, USER_COLUMN], ids[:, ITEM_COLUMN]]),
        epochs_with=remembering.epochs,
        epochs_without=forgetful.epochs,
        with_codebooks=remembering.test_auc,
        zeroed=quality(remembering.model, data.test),
        without=forgetful.test_auc,
        rows=2 * rows - 1,
        gated_two=gated.test_auc,
        one_codebook=single.test_auc,
    )


@torch.no_grad()
def zero(model: DEA) -> None:
    """Empties the memory."""
    for rows in codebooks(model):
        rows.zero_()


def fields_of(split: ClickSplit) -> Columns:
    """Of all samples."""
    return split.features(np.arange(len(split)))


def quality(model: DEA, split: ClickSplit) -> float:
    """AUC."""
    return auc(split.label, predict(model, split))


class Attention(NamedTuple):
    """What the first layer does with the pairs, over samples and heads."""

    weight: Float[Tensor, "F F"]
    """Mean weight that field i gives to field j; rows sum to one."""
    pruned: Float[Tensor, "F F"]
    """Share that the filter closes."""


@torch.no_grad()
def attention(model: DEA, x: Features) -> Attention:
    """Weights of equation (8) of the op, read out."""
    layer, pairs_of = model.layers[0], model.pairs(x.ids)
    assert isinstance(layer, Layer)
    heads = reference.split(layer.tokens(model.embedding(x)), layer.heads)
    share = reference.gate(heads, heads)[:, 0, pairs_of.left, pairs_of.right]
    fusion = layer.fusion(model.abundance.deficiency)
    dot = reference.scaled_dot(heads.query, heads.key)
    kept = reference.keep(dot, reference.thresholds(fusion.tau))
    score = reference.fuse(layer.pair_scores(share, pairs_of.codes, None), dot, fusion.mix)
    weight = torch.exp(score) * kept
    weight = weight / weight.sum(dim=3, keepdim=True)
    return Attention(weight.mean((0, 1)), (kept == 0).to(weight.dtype).mean((0, 1)))


@torch.no_grad()
def plant_rank_one(model: DEA, field: int, seed: int = 0) -> None:
    """Gives every row of a field's table one direction, each row keeping its length."""
    random = torch.Generator().manual_seed(seed)
    rows = model.embedding.rows.weight.split(model.embedding.sizes)[field]
    direction = nn.functional.normalize(torch.randn(rows.shape[1], generator=random), dim=0)
    rows.copy_(torch.outer(rows.norm(dim=1), direction))


def rich_tables(config: Config, schema: Schema) -> DEA:
    """DEA whose tables fill their width from the start."""
    model = DEA(config, schema)
    nn.init.normal_(model.embedding.rows.weight, std=_RICH)
    return model


@dataclass(frozen=True, kw_only=True)
class CollapseState:
    """One moment of the collapse experiment."""

    title: str
    rho: list[float]
    weight: list[list[float]]
    pruned: list[list[float]]
    auc: float


@dataclass(frozen=True, kw_only=True)
class CollapseResult:
    """A healthy model, then one of its tables made rank one, then the thresholds measured anew."""

    fields: list[str]
    collapsed: str
    states: list[CollapseState]


def collapse(seed: int = 0, *, epochs: int = 4) -> CollapseResult:
    """The planted-collapse experiment."""
    data = collapse_data(seed)
    names = [field.name for field in data.features.layout.fields]
    config = replace(_SMALL, epochs=epochs, learning_rate=5e-3)
    model = train(replace(SYSTEM, build=rich_tables), config, data, seed).model
    model.abundance.refresh(model.embedding)
    states = [_state(model, data.test, "healthy")]
    plant_rank_one(model, names.index(COLLAPSED))
    states.append(_state(model, data.test, f"{COLLAPSED} collapsed, old thresholds"))
    model.abundance.refresh(model.embedding)
    states.append(_state(model, data.test, f"{COLLAPSED} collapsed, thresholds measured anew"))
    return CollapseResult(fields=names, collapsed=COLLAPSED, states=states)


def _state(model: DEA, split: ClickSplit, title: str) -> CollapseState:
    weight, pruned = attention(model, Features(*map(torch.from_numpy, fields_of(split))))
    return CollapseState(
        title=title,
        rho=model.abundance.rho.tolist(),
        weight=weight.tolist(),
        pruned=pruned.tolist(),
        auc=quality(model, split),
    )
