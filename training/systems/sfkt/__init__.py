"""SFKT: the whole past as counts, the newest answers one by one, and a contrast for students of whom little is known.

"No Length Left Behind: Enhancing Knowledge Tracing for Modeling Sequences of Excessive or Insufficient Lengths", CIKM
2023, https://arxiv.org/abs/2308.03488

Stated (abstract and openings; neither the full text nor code could be read): models of knowledge tracing cut long
sequences off, for their cost, and overfit short ones; the remedy has two parts, one for each. Reconstructed: that the
first is a term of totals over all that a student has answered, and the second a contrastive task over augmented
histories. Our design: all equations. The total term reads logarithms of counts of right and wrong answers by concept;
a gate mixes it with attention over a window; two changed histories of a student, each with the counts of its own
answers, are to be more alike than those of others, by what the network makes of them where all are asked the same
questions; an answer is learnt after the changed histories too; both weigh the less the longer a history is.

A student's state is counts and a ring of his newest answers: each answer costs the same, however many there were.
"""

from training.system import System
from training.systems.sfkt.config import Config, variant
from training.systems.sfkt.model import SFKT, SFKTState
from training.tasks.tracing import TRACING

__all__ = ["SFKT", "SYSTEM", "Config", "SFKTState"]

SYSTEM = System(
    name="sfkt",
    title="SFKT: knowledge tracing of long and of short sequences",
    paper="https://arxiv.org/abs/2308.03488",
    provenance="the two parts are reconstructed from the abstract; counts, gate, augmentation, contrast and sizes are "
    "our design",
    task=TRACING,
    config=Config,
    baseline="dkt",
    controls=("sakt", "pfa"),
    build=SFKT,
    variant=variant,
    quick={"dim": 16, "window": 8, "max_length": 40},
)
