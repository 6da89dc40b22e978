"""Click prediction: logits of candidates from the user's fields, the items' fields, the history, the scenario.

Protocol of a module: `prepare(data: ClickData)` fills its buffers; `forward(batch: ClickBatch) -> logits [B]` is what
is trained, measured and served. The data protocol stands in `training.data.click`.
"""

import numpy as np
from torch import Tensor, nn

from training.asking import Question, Shown, Tensors, about, as_ids, met_by, of_what, ordered, unseen
from training.data.click import FEATURES, NEEDS, ClickBatch, ClickData, ClickSplit, click_data
from training.data.planted_clicks import planted_clicks
from training.interactions import Interactions
from training.layers.click_release import plain_release
from training.metrics import auc, defined, gauc, log_loss
from training.servable import Signature
from training.system import PLAIN, Column, Predict, Stage, Task, Wanted
from training.tasks.click_slices import SLICES, sliced
from training.traffic import CANDIDATES, VISITORS, candidates, visitors


def click_loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of the logits against the labels."""
    loss = nn.functional.binary_cross_entropy_with_logits(module(batch), batch.label)
    return loss, {"loss": loss.detach()}


def quality(split: ClickSplit, logits: np.ndarray) -> dict[str, float]:
    """AUC, GAUC (by user) and log loss of logits [len(split)] in sample order, where they are defined."""
    return defined(
        {
            "auc": lambda: auc(split.label, logits),
            "gauc": lambda: gauc(split.user, split.label, logits),
            "log_loss": lambda: log_loss(split.label, logits),
        }
    )


def measures(split: ClickSplit, logits: np.ndarray) -> dict[str, float]:
    """`quality`, and that of scenarios and of items that training hardly saw."""
    return quality(split, logits) | sliced(split, logits)


class Click(Task[ClickData, ClickSplit]):
    """The task's object."""

    name = "click"
    title = "click prediction"
    default = "ml-100k"
    needs = NEEDS
    traffic = f"{VISITORS}, {CANDIDATES}"
    columns = (
        Column(title="AUC", metric="auc", judges=True),
        Column(title="GAUC", metric="gauc", judges=True),
        Column(title="log loss", metric="log_loss", direction="min"),
    )
    further = SLICES

    def view(self, interactions: Interactions, wanted: Wanted) -> ClickData:
        return click_data(interactions, wanted._replace(reads=wanted.reads or frozenset({FEATURES})))

    def tested(self, interactions: Interactions) -> str:
        test = click_data(interactions, PLAIN).test
        return f"{len(test):,} events of {len(np.unique(test.user)):,} users, the last 10 % in time"

    def planted(self, seed: int = 0) -> Interactions:
        return planted_clicks(seed=seed)

    def stage(self, config: object) -> Stage:
        """Training end to end; `config` has epochs, batch_size, learning_rate and weight_decay."""
        names = ("epochs", "batch_size", "learning_rate", "weight_decay")
        return Stage(name="train", loss=click_loss, monitor="auc", **{name: getattr(config, name) for name in names})

    def evaluate(self, module: nn.Module, predict: Predict, split: ClickSplit) -> dict[str, float]:
        """What `measures` finds."""
        return measures(split, predict(module, split))

    def request(self, interactions: Interactions, question: Question) -> Tensors:
        question.refuse("history", "the model has the histories of its users")
        if question.user is None:
            raise ValueError("say for whom: --user ID")
        offered = unseen(interactions, question)
        return {
            "user_id": as_ids(interactions, "user", [question.user]),
            "candidates": as_ids(interactions, "item", offered),
        }

    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        items, scores = request["candidates"][0].tolist(), answer["scores"][0]
        spread = {"spread": answer["spread"][0]} if "spread" in answer else {}
        rows: list[list[object]] = []
        for place, number in enumerate(ordered(scores).tolist(), 1):
            title = interactions.titles[interactions.dense("item", items[number])]
            rows.append([place, title, items[number], *(float(one[number]) for one in (scores, *spread.values()))])
        liked = met_by(interactions.positives, question.dense_user(interactions))[::-1].tolist()
        return Shown(
            (about(interactions, question, liked, "lately liked"),),
            f"best of {of_what(interactions, question)}",
            ("", "title", "item", "score", *spread),
            rows,
        )

    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        users = visitors(interactions, random, count)
        return [Question(user, (), candidates(interactions, random, most), most) for user in users]

    def release(self, name: str, module: nn.Module, data: ClickData) -> tuple[Signature, ...]:
        return plain_release(name, module, data)


CLICK = Click()
