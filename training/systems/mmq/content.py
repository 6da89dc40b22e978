"""MMQ's first stage: ids from content alone.

Legend: B items.
"""

from torch import Tensor, nn

from training.data.catalogue import ItemBatch
from training.layers.quantiser import vq_loss
from training.systems.mmq.model import MMQ


def content_loss(module: nn.Module, batch: ItemBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """L = 12 L_recon + 10 L_aux + 0.005 L_ortho, and L_vq."""
    assert isinstance(module, MMQ)
    config = module.config
    encoded = module.encode(batch)
    if module.codebooks.is_due(config.reseed_every):
        module.codebooks.reseed(encoded.latents)
        encoded = module.encode(batch)
    module.codebooks.count(encoded.chosen.codes)
    recon, aux = module.reconstruct(batch, encoded)
    vq, orthogonality = vq_loss(encoded.latents, encoded.chosen.words, module.codebooks.metric), module.orthogonality()
    value = config.recon_weight * recon + config.aux_weight * aux + config.vq_weight * vq
    logged = {"recon": recon.detach(), "aux": aux.detach(), "vq": vq.detach(), "ortho": orthogonality.detach()}
    return value + config.orthogonality * orthogonality, logged
