"""CSMF: one retriever for exposure, click and conversion, each in the weights that the one before left.

"Cascaded Selective Mask Fine-Tuning for Multi-Objective Embedding-Based Retrieval", Deng, Xing et al., Alibaba
International, SIGIR 2025, https://arxiv.org/abs/2504.12920

Only the abstract and public summaries were at hand. They state: three stages within one network; pre-training on
exposures by a softmax over items; pruning per layer by the cumulative percentile of |w|; accuracy recovery of what is
kept on a part of the data; freezing, and tuning of the freed weights alone for clicks, then for conversions; an
adaptive margin loss across stages; one vector no longer than before, a linear fusion whose weights are chosen at
request time. Reconstructed: that magnitudes ascend. Our design: owners of weights as masks, an objective reading the
weights of those before it; biases and tables moving with the first objective alone; freed weights going on from their
values; outputs given by neuron, ranked by the product of both towers' magnitudes; each objective's part of the vector
of norm 1, and the sum up to an objective as the list that asks for it; the equation of the margin; in-batch negatives
with counted shares and drawn refused items; all sizes and rates.

Differs from the paper: unknown where it could not be read. Objectives are those of the data set, one or more, each
within the one before; an outcome may have come after a later event of its user.
"""

from training.schema import Schema
from training.system import System
from training.systems.csmf.cascaded import Cascaded
from training.systems.csmf.config import Config, variant
from training.systems.csmf.controls import Narrow, OneVector
from training.systems.csmf.evaluation import evaluate
from training.systems.csmf.model import CSMF
from training.systems.csmf.servables import explained, servables
from training.systems.csmf.stages import stages
from training.tasks.retrieval import RETRIEVAL

__all__ = ["CSMF", "GPU", "SYSTEM", "Cascaded", "Config"]

_MODULES: dict[str, type[CSMF | OneVector | Narrow]] = {
    "masks": CSMF,
    "naive": OneVector,
    "mixed": OneVector,
    "last": OneVector,
    "towers": Narrow,
}


def build(config: Config, schema: Schema) -> Cascaded:
    """The system, or the control that the configuration names."""
    return _MODULES[config.way](config, schema)


GPU = Config(dim=128, hidden=512, batch_size=8192, epochs=100, patience=5)
"""A run for an accelerator; here it was only started."""


SYSTEM = System(
    name="csmf",
    title="CSMF: cascaded selective mask fine-tuning",
    paper="https://arxiv.org/abs/2504.12920",
    provenance="states: stages, cumulative-percentile pruning, recovery, freezing, a margin across stages, linear "
    "fusion at request time; our design: masks, split of outputs, margin's equation, negatives, sizes",
    task=RETRIEVAL,
    config=Config,
    gpu=GPU,
    baseline="two_tower",
    build=build,
    reads=frozenset({"users"}),
    stages_by_schema=stages,
    evaluate=evaluate,
    served=servables,
    explained=explained,
    variant=variant,
)
