"""MF-DAKT: knowledge tracing by factors of practice, weighed by attention in two subspaces.

Zhang et al., "Multi-Factors Aware Dual-Attentional Knowledge Tracing", CIKM 2021, https://arxiv.org/abs/2108.04741

The paper's text was not at hand; its abstract, notes on it and the authors' code (TensorFlow 1, zmy-9/MF-DAKT) were
read, for facts alone. Stated: factors are right answers, wrong answers and a recent one with forgetting; question
vectors are trained beforehand by relations and difficulties, and difficulty regularises them afterwards; attention
weighs factors and their interactions. From the code: the relation's products and both difficulty heads; tables of each
subspace; sums over concepts of right, wrong and recent, exp(-rate interval) with a rate for each concept; the attention
of both kinds; two convolutions; bi-interaction or sum; the last network; norms, losses and their weights. From notes on
the paper: the relation is divided by the larger number of concepts (`relation="min"`: the code).

Differs from the code, in which three things are wrong: its sum subspace never reads the recent factor that it computes
(here both do); its test figure is the best of all epochs (here validation stops); its test rows are drawn at random, so
that later answers train (here `split="random"`, for comparison, by name). Our design: log(1 + n) of counts
(`counts="raw"`: the code); rates of forgetting above 0, capped intervals; the running form of the norms
(`training.systems.mfdakt.norm`); difficulties smoothed; a share of the training answers read as those of an unknown
student, who is then no mean; students' vectors start near 0 and move slower; AdamW, and sizes. A question that nobody
answered has what its concepts gave it before there were answers. Mastery is what is said of a question of the concept
alone, with the vector of the unknown question.

No sequence is read: a student is four numbers for each concept, however long his history is.
"""

from training.system import System
from training.systems.mfdakt.config import Config, variant
from training.systems.mfdakt.evaluation import COLUMNS, evaluate
from training.systems.mfdakt.model import MFDAKT
from training.systems.mfdakt.stages import stages
from training.tasks.tracing import TRACING

__all__ = ["MFDAKT", "SYSTEM", "Config"]

SYSTEM = System(
    name="mfdakt",
    title="MF-DAKT: multi-factors aware dual-attentional knowledge tracing",
    paper="https://arxiv.org/abs/2108.04741",
    provenance="factors, pre-training, attention, convolutions and losses from the authors' code, without its three "
    "defects; the relation's divisor from notes on the paper; log counts, positive rates, running norms, unknown "
    "students and sizes are our design",
    task=TRACING,
    config=Config,
    baseline="pfa",
    build=MFDAKT,
    stages=stages,
    evaluate=evaluate,
    columns=COLUMNS,
    variant=variant,
    quick={"dim": 8, "hidden": 16, "unknown_rate": 0.2},
)
