"""BBQRec.

Legend.
"""

from dataclasses import replace

from torch import nn

from training.system import Column, ParameterGroup, Stage, System, Upstream
from training.systems.bbqrec import neighbours, tokenizer
from training.systems.bbqrec.aims import loss
from training.systems.bbqrec.evaluation import evaluate
from training.systems.bbqrec.explained import explained
from training.systems.bbqrec.model import BBQRec, Config
from training.systems.bbqrec.quantiser import BBQ, QuantiserConfig
from training.systems.bbqrec.servables import servables
from training.tasks.next_item import NEXT_ITEM
from training.tasks.semantic_ids import SEMANTIC_IDS

__all__ = ["BBQ", "QUANTISER", "SYSTEM", "BBQRec", "Config", "QuantiserConfig"]


_AHEAD = 10
"""Times the learning rate, of what CLUB follows with."""


def upstream(config: Config) -> tuple[Upstream, ...]:
    """The tokenizer's run; LETTER's ids are published with the data."""
    if config.ids == "letter":
        return ()
    differs: dict[str, object] = {} if config.books == "shared" else {"books": config.books}
    return (Upstream(system=config.ids, config=differs),)


def stages(config: Config) -> tuple[Stage, ...]:
    """The task's one, in which the table has a rate of its own."""
    stage = NEXT_ITEM.stage(config)
    table = ParameterGroup(parameters=table_of, learning_rate=config.table_rate, weight_decay=config.weight_decay)
    return (replace(stage, groups=(table,)) if config.table == "learnt" else stage,)


def table_of(module: nn.Module) -> list[nn.Parameter]:
    """What similarity adds."""
    assert isinstance(module, BBQRec)
    return [module.table]


def variant(config: Config) -> str:
    """Whose codes, and which mechanism is off."""
    parts = (
        "" if config.ids == Config().ids else config.ids,
        "" if config.books == "shared" else config.books,
        "" if config.similarity == "prefix" else config.similarity,
        "" if config.codes == "true" else config.codes,
        "" if config.table == "learnt" else "zero-table",
    )
    return "-".join(part for part in parts if part)


def quantiser_variant(config: QuantiserConfig) -> str:
    """Which of its ideas is off."""
    parts = (
        "" if config.books == "shared" else config.books,
        "" if config.behaviour_weight else "no-behaviour",
        "" if config.noise_weight else "noise-kept",
    )
    return "-".join(part for part in parts if part)


def quantiser_stages(config: QuantiserConfig) -> tuple[Stage, ...]:
    """The task's one, in which q of CLUB is ahead of what it judges."""
    ahead = ParameterGroup(
        parameters=clubs_of, learning_rate=_AHEAD * config.learning_rate, weight_decay=config.weight_decay
    )
    return (replace(SEMANTIC_IDS.stage(config), loss=loss, groups=(ahead,), monitor="contrast"),)


def clubs_of(module: nn.Module) -> list[nn.Parameter]:
    """Of q."""
    assert isinstance(module, BBQ)
    return [parameter for part in module.parts() for parameter in part.club.parameters()]


QUANTISER = System(
    name="bbq",
    title="BBQ: codes of what modalities share, bound to behaviour",
    paper="https://arxiv.org/abs/2504.06636",
    provenance="states: contrast across modalities, one codebook for all, CLUB between aligned and own parts, "
    "alignment with behaviour; our design: neighbours in training histories, levels, weights, sizes; second modality "
    "is attributes or a graph",
    task=SEMANTIC_IDS,
    config=QuantiserConfig,
    baseline="rqvae",
    build=BBQ,
    view=neighbours.view,
    stages=quantiser_stages,
    evaluate=tokenizer.evaluate,
    columns=(
        Column(title="neighbours alike", metric="neighbours_alike", direction=None),
        Column(title="strangers alike", metric="strangers_alike", direction=None),
    ),
    products=tokenizer.products,
    quick={"hidden": 32, "batch_size": 32, "reseed_every": 3},
    variant=quantiser_variant,
)

SYSTEM = System(
    name="bbqrec",
    title="BBQRec: attention bent by quantised similarity",
    paper="https://arxiv.org/abs/2504.06636",
    provenance="states: attention scores re-weighted by quantised similarity, architecture untouched; our design: the "
    "length of the common prefix of codes, a table for each head, everything with a number",
    task=NEXT_ITEM,
    config=Config,
    baseline="sasrec",
    build=BBQRec,
    stages=stages,
    evaluate=evaluate,
    columns=(Column(title="pairs alike", metric="alike", direction=None),),
    upstream=upstream,
    served=servables,
    explained=explained,
    quick={"max_length": 12, "dim": 16, "layers": 1, "batch_size": 32},
    variant=variant,
)
