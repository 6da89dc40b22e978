"""All tasks, in the order in which they are listed, and all systems, by name."""

from training.baselines import (
    autoint,
    dcnv2,
    deepfm,
    din,
    dkt,
    early_fusion,
    ease,
    fm,
    fused_sasrec,
    gru4rec,
    item_mean,
    mlp,
    pepnet,
    pfa,
    pooling,
    popularity,
    rqvae,
    sakt,
    sasrec,
    shared_bottom,
    tiger,
    two_tower,
)
from training.system import System, Task
from training.systems import (
    bbqrec,
    chime,
    cmkt,
    cmvf,
    croloss,
    csmf,
    dea,
    dgenctr,
    dmae,
    gsvr,
    heterrec,
    lrea,
    matt,
    mfdakt,
    mmq,
    mmq2,
    mpq,
    reg4rec,
    sdiff,
    sfkt,
    sfpnet,
    sgctr,
)
from training.tasks.click import CLICK
from training.tasks.next_item import NEXT_ITEM
from training.tasks.retrieval import RETRIEVAL
from training.tasks.semantic_ids import SEMANTIC_IDS
from training.tasks.tracing import TRACING

TASKS: tuple[Task, ...] = (CLICK, NEXT_ITEM, SEMANTIC_IDS, RETRIEVAL, TRACING)

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        autoint.SYSTEM,
        bbqrec.QUANTISER,
        bbqrec.SYSTEM,
        chime.SYSTEM,
        cmkt.SYSTEM,
        cmvf.SYSTEM,
        croloss.SYSTEM,
        csmf.SYSTEM,
        dcnv2.SYSTEM,
        dea.SYSTEM,
        deepfm.SYSTEM,
        dgenctr.SYSTEM,
        din.SYSTEM,
        din.WITH_AGES,
        dkt.SYSTEM,
        dmae.SYSTEM,
        early_fusion.SYSTEM,
        ease.SYSTEM,
        fm.SYSTEM,
        fused_sasrec.SYSTEM,
        gru4rec.SYSTEM,
        gsvr.SYSTEM,
        heterrec.SYSTEM,
        item_mean.SYSTEM,
        lrea.SYSTEM,
        matt.SYSTEM,
        mfdakt.SYSTEM,
        mlp.SYSTEM,
        mmq.SYSTEM,
        mmq2.SYSTEM,
        mpq.SYSTEM,
        pepnet.SYSTEM,
        pfa.SYSTEM,
        pooling.MEAN,
        pooling.RECENCY,
        popularity.SYSTEM,
        reg4rec.SYSTEM,
        rqvae.SYSTEM,
        sakt.SYSTEM,
        sasrec.SYSTEM,
        sdiff.SYSTEM,
        sfkt.SYSTEM,
        sfpnet.SYSTEM,
        shared_bottom.SYSTEM,
        sgctr.SYSTEM,
        tiger.SYSTEM,
        two_tower.SYSTEM,
    )
}

DEMO = lrea.SYSTEM
"""What `recserve demo` shows."""


def system(name: str) -> System:
    """The system of that name; ValueError lists the names there are."""
    if name not in SYSTEMS:
        raise ValueError(f"no system is called '{name}'; there are: {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
