"""DEA: Dual Enhanced Attention ("Addressing Information Loss and Interaction Collapse").

Xu et al., Lazada, 2025, https://arxiv.org/abs/2503.11233

Only the abstract and public summaries were at hand. They state: a pair's id is made of its two feature ids, its
embedding comes from a memory codebook, collisions are treated by gated siamese codebooks; attention that filters pairs
of low information abundance by a dynamic threshold; several ways to fuse the two score maps. Reconstructed: pair codes
enter as attention scores through a small network, information abundance is that of the embedding-collapse literature.
Our design: the hash, scoring each row before the gate (so that serving needs one score per row), the bilinear gate, the
form of the threshold, codebooks that start at zero, the final network, all sizes.

Differs from the paper: unknown where it could not be read. Thresholds are per pair of fields, not per feature; the
values hold no pair code; the codebooks are trained by Adam with dense moments, at a smaller rate.
"""

from dataclasses import replace

from torch import Tensor, nn

from training.data.click import FEATURES, ClickBatch
from training.system import ParameterGroup, Stage, System
from training.systems.dea.model import DEA, Config
from training.systems.dea.servables import servables
from training.tasks.click import CLICK

__all__ = ["DEA", "SYSTEM", "Config", "codebooks", "servables", "stages"]


def codebooks(module: nn.Module) -> list[nn.Parameter]:
    """The rows of both codebooks."""
    assert isinstance(module, DEA)
    return [module.memory.first, module.memory.second]


def stages(config: Config) -> tuple[Stage, ...]:
    """One stage, end to end. Each step is counted, and from time to time abundance is measured anew before it."""
    stage = CLICK.stage(config)
    rate = config.code_rate * config.learning_rate
    group = ParameterGroup(parameters=codebooks, learning_rate=rate, weight_decay=0.0)

    def loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, DEA)
        module.abundance.count_step(module.embedding, config.refresh_every)
        value, logged = stage.loss(module, batch, done)
        return value, {**logged, "least_abundance": module.abundance.rho.min()}

    return (replace(stage, loss=loss, groups=(group,)),)


SYSTEM = System(
    name="dea",
    title="DEA: dual enhanced attention",
    paper="https://arxiv.org/abs/2503.11233",
    provenance="states: pair ids, gated siamese codebooks, filter by abundance, fusion; "
    "reconstructed: codes as scores; our design: hash, rows scored before the gate, threshold, sizes",
    task=CLICK,
    config=Config,
    baseline="mlp",
    build=DEA,
    reads=frozenset({FEATURES}),
    stages=stages,
    served=servables,
)
