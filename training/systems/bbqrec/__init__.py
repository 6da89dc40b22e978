"""BBQRec.

Legend.
"""

from training.system import Column, System, Upstream
from training.systems.bbqrec.evaluation import evaluate
from training.systems.bbqrec.model import BBQRec, Config
from training.tasks.next_item import NEXT_ITEM

__all__ = ["SYSTEM", "BBQRec", "Config"]


def upstream(config: Config) -> tuple[Upstream, ...]:
    """The tokenizer's run; LETTER's ids are published with the data."""
    return () if config.ids == "letter" else (Upstream(system=config.ids, config={}),)


def variant(config: Config) -> str:
    """Whose codes, and which mechanism is off."""
    parts = (
        "" if config.ids == Config().ids else config.ids,
        "" if config.codes == "true" else config.codes,
        "" if config.table == "learnt" else "zero-table",
    )
    return "-".join(part for part in parts if part)


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
    evaluate=evaluate,
    columns=(Column(title="pairs alike", metric="alike", direction=None),),
    upstream=upstream,
    quick={"max_length": 12, "dim": 16, "layers": 1, "batch_size": 32},
    variant=variant,
)
