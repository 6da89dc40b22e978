"""MMQ: Multimodal Mixture-of-Quantization, semantic ids from shared and modality-specific experts.

"MMQ: Multimodal Mixture-of-Quantization Tokenization for Semantic ID Generation and User Behavioral Adaptation",
Alibaba, WSDM 2026, https://arxiv.org/abs/2508.15281

Only the abstract, the overview figure and public summaries were at hand. They state: shared and specific experts with a
codebook each, gates over the specific ones, cosine quantisers, reconstruction with auxiliary decoders, orthogonality,
the weights 12, 10 and 0.005; a behaviour-aware second stage that joins a recommender through the index straight-through
with reconstruction at 0.5; K = 100 and six ids on public data. Reconstructed: what the auxiliary decoders get, the
matrices that the orthogonality looks at. Our design: what moves the words (index straight-through and a cosine
commitment in the first stage, k-means start, re-seeding), temperature, the recommender (a GRU over summed embeddings of
ids, a head per position), learning rates, the frozen share, fp64 for served ids, all other sizes.

Differs from the paper: the second modality is attributes or a knowledge graph (`graph`) where the paper has images; it
is no image. The first linear layers take the widths that the data has, in place of 256. An item without the second
modality has the zero vector there, and no reserved id.
"""

from dataclasses import replace

from torch import nn

from training.system import ParameterGroup, Stage, System
from training.systems.mmq.behaviour import behaviour_loss, evaluate, view
from training.systems.mmq.content import content_loss
from training.systems.mmq.model import MMQ, Config
from training.systems.mmq.servables import servables
from training.tasks.semantic_ids import SEMANTIC_IDS, products

__all__ = ["GPU", "MMQ", "SYSTEM", "Config", "servables", "stages"]

GPU = Config(
    words=3000, hidden=1024, gate_hidden=256, batch_size=4096, reseed_every=1000, behaviour_batch=1024, recommender=256
)
"""The paper's industrial codebooks, for a GPU; widths and batches are our design."""


def tokenizer_parameters(module: nn.Module) -> list[nn.Parameter]:
    """All but the recommender's."""
    assert isinstance(module, MMQ)
    return module.tokenizer_parameters()


def stages(config: Config) -> tuple[Stage, ...]:
    """Content, then behaviour."""
    tokenizer = ParameterGroup(
        parameters=tokenizer_parameters,
        learning_rate=config.tokenizer_rate * config.behaviour_rate,
        weight_decay=config.weight_decay,
    )
    behaviour = Stage(
        name="behaviour",
        loss=behaviour_loss,
        groups=(tokenizer,),
        epochs=config.behaviour_epochs,
        batch_size=config.behaviour_batch,
        learning_rate=config.behaviour_rate,
        weight_decay=config.weight_decay,
        patience=config.behaviour_epochs,
        monitor="task_loss",
        direction="min",
        samples=lambda data: data.sequences.train,
    )
    content = replace(SEMANTIC_IDS.stage(config), loss=content_loss, parameters=tokenizer_parameters)
    return content, behaviour


SYSTEM = System(
    name="mmq",
    title="MMQ: mixture of quantisation over modalities",
    paper="https://arxiv.org/abs/2508.15281",
    provenance="states: experts, gates, cosine codebooks, losses and weights, behaviour-aware stage; reconstructed: "
    "auxiliary decoders' input; our design: what moves the words, recommender, sizes; second modality is attributes or "
    "a graph",
    task=SEMANTIC_IDS,
    config=Config,
    gpu=GPU,
    baseline="rqvae",
    build=MMQ,
    view=view,
    stages=stages,
    evaluate=evaluate,
    products=products,
    served=servables,
    quick={"words": 12, "hidden": 32, "latent": 8, "batch_size": 32, "reseed_every": 3, "behaviour_batch": 32},
)
