"""What CMVF is trained by: the evidence bound, or the answers alone.

    cross-entropy + beta * mean(w KL(q || p)) + gamma R        w = 1 / n_u by id, 1 / (1 + t) by prefix

gamma R is what holds the modes together, less what keeps all of them in use. Each answer of a student adds one
divergence, so divided by their number they weigh as much as the one that the bound has.

Legend: B students, T answers, K modes, D width of the vector.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.tracing import TracingBatch
from training.layers.fields import with_unknown
from training.layers.mixtures import entropy, far_from_normal
from training.systems.cmvf.model import CMVF
from training.tasks.tracing import cross_entropy


def cmvf_loss(module: nn.Module, batch: TracingBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The bound, warmed up; of the control without a prior the answers alone."""
    assert isinstance(module, CMVF)
    config, prior = module.config, module.prior
    # Those of whom the distribution is not looked at.
    new = with_unknown(torch.ones_like(batch.student), config.unseen_rate if config.posterior == "id" else 0.0) == 0
    if prior is None:
        loss = cross_entropy(module(batch._replace(student=torch.where(new, 0, batch.student))), batch)
        return loss, {"loss": loss.detach()}
    seen = module.before(batch)
    assert seen.log_share is not None
    warm = min(max(done / config.warm_up - 1, 0.0), 1.0) if config.warm_up else 1.0
    centre = prior.centre(seen.log_share)
    posterior = module.source(seen.number, seen.described, centre)
    sampled = posterior.mean + (posterior.log_variance / 2).exp() * (warm > 0) * torch.randn_like(posterior.mean)
    samples = module.source.samples(seen.number)
    is_inferred = (samples > 0) & ~new[:, None]
    vector = torch.where(is_inferred[..., None], sampled, centre)
    loss = cross_entropy(module.logits(seen, vector, batch.questions), batch)
    each = module.source.divergence(posterior, prior.mixture(seen.log_share)) / samples.clamp(min=1)
    divergence = _mean(each * (samples > 0), batch)
    share = torch.stack([_mean(one, batch) for one in seen.log_share.exp().unbind(-1)])
    far = far_from_normal(prior.mixture(seen.log_share))
    together = config.prior_weight * far - config.entropy_weight * entropy(share)
    total = loss + warm * config.beta * divergence + together
    return total, {"loss": loss.detach(), "divergence": divergence.detach()}


def _mean(values: Float[Tensor, "B T"], batch: TracingBatch) -> Float[Tensor, ""]:
    """Over the answers that count."""
    return (values * batch.counts).sum() / batch.counts.sum().clamp(min=1)
