"""CMVF: Cognition-Mode aware Variational Representation Learning Framework for Knowledge Tracing.

ICDM 2023, https://arxiv.org/abs/2309.01179

Only the abstract was at hand; the authors' repository holds a README. It states: students of few records get vectors
that are learnt by heart; each student has a distribution instead, inferred variationally; its prior is a multinomial
distribution by his cognition mode, so that students of like modes have like distributions; it is put around existing
methods of knowledge tracing. Reconstructed: the prior as a mixture of Gaussians that all students share; modes by
dynamic routing, as an option (recalled, not confirmed). Our design: the two posteriors, modes by likeness to the state
of the method that is wrapped, the prior's mean as what the posterior by prefix moves from, the bound of the divergence
and its division by the answers behind a distribution, students who count as new in training, all sizes and weights.

Differs from the paper: unknown where it could not be read. The vector adds a product with the question's to the logit
of the method that is wrapped, in place of a network over both: that method stays whole, and what it says alone can be
read beside. Routing looks at the newest answers, of which there is a fixed number, so that each answer costs the same.

    posterior "prefix": works for students of whom nothing is known; "id": one vector of each student whom training
    knows, for later answers of the same students; of all others the prior's mean answers
"""

from collections.abc import Sequence
from dataclasses import replace

from training.schema import Schema
from training.system import Column, Stage, System
from training.systems.cmvf.evaluation import evaluate
from training.systems.cmvf.hosts import based_on
from training.systems.cmvf.loss import cmvf_loss
from training.systems.cmvf.model import CMVF, Config
from training.tasks.tracing import TRACING, variant_of

__all__ = ["CMVF", "SYSTEM", "Config"]


def build(config: Config, schema: Schema) -> CMVF:
    """The host first, so that its initial weights are those that it has alone."""
    return CMVF(config, based_on(config.base, config.dim, config.hidden, schema), schema)


def stages(config: Config) -> Sequence[Stage]:
    """One stage, warm-up included."""
    return (replace(TRACING.stage(config), loss=cmvf_loss),)


def variant(config: Config) -> str:
    """What a configuration chooses: host, posterior, extractor, control, split."""
    has_prior = config.vector != "plain"
    chosen = {
        config.base: config.base != "dkt",
        config.posterior: config.posterior != Config.posterior,
        "routing": has_prior and config.mode_extractor == "routing",
        "plain-vector": not has_prior,
        "one-mode": has_prior and config.modes == 1,
        "no-divergence": has_prior and config.beta == 0,
        variant_of(config): bool(variant_of(config)),
    }
    return "-".join(name for name, is_so in chosen.items() if is_so)


SYSTEM = System(
    name="cmvf",
    title="CMVF: cognition modes and a variational student vector",
    paper="https://arxiv.org/abs/2309.01179",
    provenance="states: a distribution of each student, inferred variationally, a prior by cognition mode, a "
    "plug-in to methods of knowledge tracing; our design: posteriors, modes, bound of the divergence, its division by "
    "counts, readout, sizes",
    task=TRACING,
    config=Config,
    baseline=lambda config: config.base,
    controls=("dkt", "pfa"),
    build=build,
    stages=stages,
    evaluate=evaluate,
    columns=(Column(title="True modes recovered (NMI)", metric="mode nmi"),),
    quick={"dim": 8, "hidden": 12, "vector_dim": 4, "inference_units": 8, "warm_up": 0.0},
    variant=variant,
)
