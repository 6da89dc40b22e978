"""SFPNet's two graphs: a user in each scenario once per request, then the candidates.

Where the scenario is an item's, the first graph tailors the behaviours to all scenarios, and each candidate takes those
of its own; where it is the event's, to that one alone.

Legend: B requests, C candidates packed over them, L history, D width, G scenarios that a request needs, J blocks.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickData
from training.layers import ragged
from training.layers.click_release import Scorer
from training.layers.items import known
from training.layers.ranker import Embedded
from training.layers.request_scenario import RequestScenario
from training.servable import Packed
from training.systems.sfpnet.model import SFPNet, Tailored


class Scene(nn.Module):
    """Rows of users -> tailored behaviours [B, G, L, D], users [B, G, D], and for people how far each behaviour moved
    [B, G, L] and how strong gates are [B, G, 2J]."""

    def __init__(self, model: SFPNet, data: ClickData) -> None:
        super().__init__()
        self.model, self.rows = model, Scorer(model, data)
        self.of_item = data.source.scenario.of_event is None
        self.num_scenes = model.num_scenarios if self.of_item else 1

    def forward(self, *rows: Tensor) -> Packed:
        batch = self.rows.samples_of_rows(*rows)
        embedded, times = self.model.tables.look_up(batch), self.num_scenes
        wide = Embedded(*(_repeated(part, times) for part in embedded))
        scenario = batch.scenario
        if self.of_item:
            scenario = torch.arange(times).expand(batch.scenario.shape[0], -1).flatten()
        tailored = self.model.tailor(wide, scenario)
        possible = (batch.history_length >= 0) & (batch.history_length <= batch.history_items.shape[1])
        # A length that cannot be is answered with NaN, never with a plausible score.
        user = torch.where(_repeated(possible[:, None], times), tailored.user, torch.nan)
        found = (tailored.history, user, tailored.moved, tailored.gates)
        return tuple(part.unflatten(0, (-1, times)) for part in found)


def _repeated(part: Tensor, times: int) -> Tensor:
    """Each row so many times."""
    return part[:, None].expand(-1, times, *part.shape[1:]).flatten(0, 1)


class SceneScorer(nn.Module):
    """Packed candidates and what `Scene` makes of their users -> click probabilities."""

    targets: Float[Tensor, "N D"]

    def __init__(self, model: SFPNet, data: ClickData) -> None:
        super().__init__()
        self.model, self.scenario = model, RequestScenario(data)
        self.of_item, self.num_items = data.source.scenario.of_event is None, model.tables.num_items
        with torch.no_grad():
            self.register_buffer("targets", model.tables.items())

    def forward(
        self,
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        tailored: Float[Tensor, "B G L D"],
        person: Float[Tensor, "B G D"],
        history_length: Int[Tensor, "B 1"],
        *scenario: Int[Tensor, "B 1"],
    ) -> Packed:
        """Probabilities [C]; NaN for a negative candidate. `scenario` where events say it."""
        # One candidate more, dropped at the end: ORT divides by zero where a batch has none at all.
        ids = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, ids.shape[0])
        item = known(ids, self.num_items)
        named = {self.scenario.name or "": scenario[0].index_select(0, request)} if scenario else {}
        found = self.scenario(item, named)
        place = request * tailored.shape[1]
        if self.of_item:
            place = place + known(found, self.model.num_scenarios)
        length = history_length[:, 0].index_select(0, request)
        mask = (torch.arange(tailored.shape[2]) < length[:, None]).to(tailored.dtype)
        own = Tailored(
            tailored.flatten(0, 1).index_select(0, place),
            person.flatten(0, 1).index_select(0, place),
            mask,
            mask[:, :0],
        )
        logits = self.model.score(own, mask, self.targets.index_select(0, item), found)
        return (torch.where(ids >= 0, torch.sigmoid(logits), torch.nan)[:-1],)
