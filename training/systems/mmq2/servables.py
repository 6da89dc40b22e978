"""What MMQ-v2 serves: `mmq2`, content and behaviour -> ids and their weights.

Legend: B items, P positions, G width of the second modality, D of behaviour vectors.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.catalogue import CatalogueData
from training.layers.served_tokenizer import checked, content_requests, ids_or_none, or_nan
from training.layers.tokenizer import exact
from training.servable import Packed, Servable, Signature, TensorSpec
from training.systems.mmq2.model import MMQ2, Config


class TokenizerGraph(nn.Module):
    """In fp64 from the first layer on, so that ids and zeros of weights do not depend on the batch or the runtime."""

    def __init__(self, module: MMQ2) -> None:
        super().__init__()
        self.module: MMQ2 = exact(module)

    def answers(self, text: Tensor, graph: Tensor, behaviour: Tensor) -> Packed:
        """Ids and weights [B, P]; a behaviour id of weight 0 is inactive."""
        parts, valid = checked((text, graph, behaviour))
        encoded = self.module.encode(self.module.vectors_of(*parts))
        return ids_or_none(encoded.chosen.codes, valid), or_nan(self.module.exported(encoded), valid)

    def forward(
        self, text: Float[Tensor, "B 384"], graph: Float[Tensor, "B G"], behaviour: Float[Tensor, "B D"]
    ) -> Packed:
        sids, weights = self.answers(text, graph, behaviour)
        return sids, weights.float()


def servables(module: MMQ2, config: Config, data: CatalogueData) -> tuple[Signature, ...]:
    """One model. Its behaviour vectors must be of the sequence model that the module was trained with."""
    graph, positions = TokenizerGraph(module).eval(), (module.num_positions,)
    widths = {
        "text": data.vectors.text.shape[1],
        "graph": data.vectors.graph.shape[1],
        "behaviour": module.behaviour.shape[1],
    }
    vectors = data.vectors._replace(behaviour=module.behaviour)
    return (
        Servable(
            name="mmq2",
            module=graph,
            inputs=tuple(TensorSpec(name=name, dtype="float32", shape=(width,)) for name, width in widths.items()),
            outputs=(
                TensorSpec(name="sids", dtype="int64", shape=positions),
                TensorSpec(name="weights", dtype="float32", shape=positions),
            ),
            example=content_requests(vectors, tuple(widths)),
            eager=torch.no_grad()(graph.forward),
        ),
    )
