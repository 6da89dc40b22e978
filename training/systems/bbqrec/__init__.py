"""BBQRec: codes of what modalities share, bound to behaviour, and attention that leans towards items of like codes.

"BBQRec" (Behavior-Bind Quantization), Kuaishou, 2025, https://arxiv.org/abs/2504.06636

Only the abstract and public summaries were at hand. They state: two encoders for each modality, one aligned with
behaviour and one of its own, what the two share lowered by CLUB; contrastive codebook learning, which takes the pattern
that noisy modalities share out of them; residual quantisation by one codebook for all modalities and behaviour;
attention re-weighted by similarities between items that are made discrete, the architecture left as it is.

Our design: everything else. Attention (`bbqrec`): items are as similar as the common prefix of their codes is long, in
each source (text, graph, what both share); a head of a block has one number for each length and source, 0 at the start,
which is added to its logits. An item beside itself is alike under any codes and counts as not alike. Quantiser (`bbq`):
behaviour is which items are neighbours in training histories; ids have vectors of their own in training, and an item's
codes come of its content alone, so that an item that nobody chose has codes; contrast moves words and latents; CLUB's
bound counts only above 0, and what it follows with learns ten times as fast.

Differs from the paper: the second modality is attributes or a knowledge graph (`graph`), no image; the id's vector is
no part of an item's codes; behaviour is learnt from pairs of neighbours, not by a sequence model; `bbqrec` scores all
items as SASRec does, and TIGER is what writes `bbq`'s codes (`--config.ids bbq`).
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

__all__ = ["BBQ", "GPU", "QUANTISER", "SYSTEM", "BBQRec", "Config", "QuantiserConfig"]


GPU = Config(dim=256, heads=4, layers=4, dropout=0.5, epochs=200, batch_size=512, learning_rate=1e-3, patience=10)
"""A run for an accelerator; here it was only started."""
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
    gpu=GPU,
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
