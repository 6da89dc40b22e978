"""What MMQ serves beyond the plain form: content -> ids, the cosine of each chosen word, and the gates.

Legend: B items, P positions, G width of the second modality.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.quantiser import unit
from training.layers.served_tokenizer import checked, content_requests, ids_or_none, or_nan
from training.layers.tokenizer import exact
from training.servable import Packed, Servable, Signature, TensorSpec
from training.systems.mmq.model import MMQ, Config, Encoded
from training.tasks.semantic_ids import vector_inputs


class TokenizerGraph(nn.Module):
    """In fp64 from the first layer on, so that ids do not depend on the batch or the runtime."""

    def __init__(self, module: MMQ) -> None:
        super().__init__()
        self.module: MMQ = exact(module)

    def encode(self, text: Tensor, graph: Tensor) -> Encoded:
        return self.module.encode(ItemBatch(text, text, graph, text[:, :0]))

    def answers(self, text: Tensor, graph: Tensor) -> Packed:
        """Ids [B, P]; the cosine of each chosen word and the gates, fp64 [B, P]."""
        (text, graph), valid = checked((text, graph))
        _, gates, chosen = self.encode(text, graph)
        best = chosen.scores.gather(2, chosen.codes[:, :, None])[:, :, 0]
        return ids_or_none(chosen.codes, valid), or_nan(best, valid), or_nan(gates, valid)

    def forward(self, text: Float[Tensor, "B 384"], graph: Float[Tensor, "B G"]) -> Packed:
        sids, best, gates = self.answers(text, graph)
        return sids, best.float(), gates.float()


def servables(name: str, module: MMQ, config: Config, data: CatalogueData) -> tuple[Signature, ...]:
    """One model."""
    graph, positions = TokenizerGraph(module).eval(), (module.num_positions,)

    @torch.no_grad()
    def in_training_form(text: Tensor, graph_vectors: Tensor) -> Packed:
        """Scores from the words that the ids name, gates from the sums that the decoder gets."""
        (text, graph_vectors), valid = checked((text, graph_vectors))
        latents, gates, chosen = graph.encode(text, graph_vectors)
        cosine = (unit(latents) * unit(chosen.words)).sum(2)
        return ids_or_none(chosen.codes, valid), or_nan(cosine, valid), or_nan(gates, valid)

    return (
        Servable(
            name=name,
            module=graph,
            inputs=vector_inputs(module, data),
            outputs=(
                TensorSpec(name="sids", dtype="int64", shape=positions),
                TensorSpec(name="best", dtype="float32", shape=positions),
                TensorSpec(name="gates", dtype="float32", shape=positions),
            ),
            example=content_requests(data.vectors, module.reads),
            eager=torch.no_grad()(graph.forward),
            eager64=torch.no_grad()(graph.answers),
            reference=in_training_form,
        ),
    )
