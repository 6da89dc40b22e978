"""DGenCTR: a universal generative paradigm for click prediction by discrete diffusion.

Zhang et al., 2025, https://arxiv.org/abs/2508.14500

Only the abstract and public summaries were at hand. They state: generation at the level of a sample, all features and
the label together, by a discrete diffusion over a fixed Markov chain; label-aware generation; two stages, generative
pre-training and fine-tuning for clicks; that all weights go on, where the embeddings or the scoring network alone are
clearly worse. A later paper of the group names an HSTU denoiser, and the review of SGCTR the form of the heads:
cosines and a softmax over sampled values. Reconstructed: the mask as the absorbing state (SGCTR masks), the click logit
as the difference of the two labels' cosines. Our design: the linear schedule, no embedding of the step, the
temperature, labels shown half of the time, the whole vocabulary where it is small and else in-batch values with their
shares, the mean over masked fields in place of the weights of the bound, all sizes and rates.

Differs from the paper: unknown where it could not be read. Histories are no part of a row here. The unknown value of a
field is no target. Rows with a label are the same for every seed.
"""

from torch import Tensor

from training.data.click import FEATURES, ClickData
from training.layers.field_generator import FieldGenerator, GeneratorConfig
from training.system import Column, System
from training.systems.dgenctr.evaluation import evaluate
from training.systems.dgenctr.explained import explained, served
from training.systems.dgenctr.stages import stages
from training.tasks.click import CLICK

__all__ = ["SYSTEM", "FieldGenerator", "GeneratorConfig"]


def variant(config: GeneratorConfig) -> str:
    """What is off, and which share of the rows has labels."""
    names = {"none": "scratch", "fixed": "mfp"}
    parts = [
        names.get(config.pretraining, ""),
        "embeddings" if config.transfer == "embeddings" else "",
        "balanced" if config.field_balance else "",
        "shuffled" if config.shuffled else "",
        f"{100 * config.labels:g}-percent" if config.labels < 1 else "",
    ]
    return "-".join(part for part in parts if part)


def products(module: FieldGenerator, data: ClickData) -> dict[str, Tensor]:
    """The weights, for systems that go on generating."""
    return {f"generator.{name}": tensor.clone() for name, tensor in module.state_dict().items()}


SYSTEM = System(
    name="dgenctr",
    title="DGenCTR: generative pre-training by discrete diffusion",
    paper="https://arxiv.org/abs/2508.14500",
    provenance="states: diffusion over all features and the label, two stages, all weights go on; reconstructed: "
    "masks, cosine heads, logit; our design: schedule, shown labels, negatives, sizes",
    task=CLICK,
    config=GeneratorConfig,
    baseline="autoint",
    build=FieldGenerator,
    reads=frozenset({FEATURES}),
    stages=stages,
    products=products,
    evaluate=evaluate,
    columns=(Column(title="nats a field", metric="generation", direction="min"),),
    served=served,
    explained=explained,
    quick={"layers": 1},
    variant=variant,
)
