"""SFPNet: Scenario-Adaptive Fine-Grained Personalization Network, each behaviour tailored to the scenario.

SIGIR 2024, https://arxiv.org/abs/2404.09709

Only the abstract and public summaries were at hand. They state: stacked scenario-tailoring blocks; in each a
scenario-adaptive module, a gate by scenario over the basic features and over mean and deviation of the behaviours, then
a residual-tailoring module, which makes a context of them and gives it back to every behaviour with a residual; earlier
work pools the history before it adapts it. Reconstructed: the equation of mean and deviation. Our design: the form of
the gates, the context and its way into a behaviour, which is not the same for all; a first norm of the behaviours;
target attention of DIN's kind above; blocks that do not see the candidate, so that they run once for a user and a
scenario; all sizes.

Differs from the paper: unknown where it could not be read. Fields of the user and of the event are one vector here.
"""

from training.data.click import HISTORY
from training.needs import SCENARIOS
from training.system import System
from training.systems.sfpnet.explained import explained
from training.systems.sfpnet.model import Config, SFPNet
from training.systems.sfpnet.servables import servables
from training.tasks.click import CLICK

__all__ = ["SYSTEM", "Config", "SFPNet"]


def variant(config: Config) -> str:
    """The control, and blocks that see the candidate."""
    chosen = {"additive": config.tailoring == "additive", "item": config.item_in_context}
    return "-".join(name for name, is_so in chosen.items() if is_so)


SYSTEM = System(
    name="sfpnet",
    title="SFPNet: behaviours tailored to the scenario",
    paper="https://arxiv.org/abs/2404.09709",
    provenance="states: blocks of scenario gates and residual tailoring of each behaviour, mean and deviation; "
    "our design: gates, context and tailoring, attention above, two graphs, sizes",
    task=CLICK,
    config=Config,
    baseline="pepnet",
    controls=("din",),
    quick={"max_length": 12, "blocks": 1},
    build=SFPNet,
    reads=frozenset({HISTORY}),
    needs=(SCENARIOS,),
    served=servables,
    explained=explained,
    variant=variant,
)
