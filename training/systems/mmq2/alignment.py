"""Content is aligned to behaviour as strongly as the behaviour vector deserves.

Legend: B items of a batch, which are each other's negatives, h common width.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from training.layers.contrast import info_nce
from training.systems.mmq2.model import Projected


def alignment_loss(
    projected: Projected, strength: Float[Tensor, " B"], temperature: float, form: Literal["v3", "v1"]
) -> Float[Tensor, ""]:
    """v3: mean_j (L_vt + w_j L_bv + w_j L_bt), content as anchor, behaviour as candidate; v1: mean_j L_vt + w_j InfoNCE
    with behaviour as anchor and the sum of both contents as candidate. L_vt is symmetric."""
    text, graph, behaviour = projected
    both = info_nce(text, graph, temperature) + info_nce(graph, text, temperature)
    if form == "v1":
        return (both + strength * info_nce(behaviour, text + graph, temperature)).mean()
    to_behaviour = info_nce(text, behaviour, temperature) + info_nce(graph, behaviour, temperature)
    return (both + strength * to_behaviour).mean()
