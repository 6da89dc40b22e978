"""S-Diff: diffusion of a user's items along the graph of all items, where noise grows with the frequency.

Xia et al., "S-Diff: An Anisotropic Diffusion Model for Collaborative Filtering in Spectral Domain", WSDM 2025,
https://arxiv.org/abs/2501.00384

Read: the abstract and notes on the paper; no equation of the schedule, no sizes, no code. Stated: the graph Fourier
transform by the items' Laplacian; noise aligned with its eigenvalues, on a bounded schedule, so that low frequencies
keep their signal; a denoiser with FiLM, conditioned on the user's items; guidance without a classifier. Our design: the
schedule (heat, and noise of an Ornstein-Uhlenbeck process, in units of each coefficient's spread), the network, the
prediction of the spectrum itself, its loss over items, few unrolled steps from the observed user without noise, all
sizes and rates.

Controls are configurations: `--config.noise isotropic`, of equal energy; `--config.decoder low-pass`, which keeps the
lowest frequencies as they are and has no denoiser; `--config.steps 1`; `--config.guidance 0`; and
`--config.no-conditioned`.

A new item has no eigenvector until the graph is decomposed again, with all that was learnt on it; a new user needs
none.
"""

from dataclasses import replace

from torch import Tensor

from training.data.retrieval import RetrievalData
from training.servable import Signature
from training.system import Stage, System
from training.systems.sdiff.bands import with_bands
from training.systems.sdiff.explained import explained
from training.systems.sdiff.model import Config, SDiff
from training.systems.sdiff.samples import Met, Users
from training.tasks.retrieval import RETRIEVAL

__all__ = ["GPU", "SYSTEM", "Config", "SDiff"]


def stages(config: Config) -> tuple[Stage, ...]:
    """The task's, over users; none where nothing is learnt."""
    if config.decoder == "low-pass":
        return ()
    return (replace(RETRIEVAL.stage(config), name="denoise", loss=_loss, samples=Users, monitor="recall20"),)


def _loss(module: SDiff, batch: Met, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    return module.loss(batch, share_done)


def _served(name: str, module: SDiff, _config: Config, data: RetrievalData) -> tuple[Signature, ...]:
    return with_bands(name, module, RETRIEVAL.release(name, module, data))


def variant(config: Config) -> str:
    """What a control leaves out."""
    frequencies = f"frequencies-{config.frequencies}" if config.frequencies != Config.frequencies else ""
    if config.decoder == "low-pass":
        return "-".join(part for part in ("low-pass", frequencies) if part)
    parts = [
        frequencies,
        "isotropic" if config.noise == "isotropic" else "",
        "unconditioned" if not config.conditioned else "",
        f"steps-{config.steps}" if config.steps != Config.steps else "",
        f"guidance-{config.guidance:g}" if config.guidance != Config.guidance else "",
    ]
    return "-".join(part for part in parts if part)


GPU = Config(frequencies=2000, hidden=2000, levels=20, steps=20, batch_size=2048, epochs=200, patience=20)
"""A run for an accelerator; here it was only started."""


SYSTEM = System(
    name="sdiff",
    title="S-Diff: noise by frequency on the graph of items",
    paper="https://arxiv.org/abs/2501.00384",
    provenance="states: spectrum, noise by eigenvalue on a bounded schedule, FiLM, condition, guidance; our design: "
    "formulas, network, loss, steps from the observed user, sizes",
    task=RETRIEVAL,
    config=Config,
    gpu=GPU,
    baseline="ease",
    controls=("popularity",),
    build=SDiff,
    stages=stages,
    served=_served,
    explained=explained,
    quick={"frequencies": 64, "hidden": 48},
    variant=variant,
)
