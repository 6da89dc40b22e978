"""Small SFKT models and data that their tests share."""

from functools import cache

import torch

from training.data.tracing import TracingBatch, TracingData
from training.system import Wanted
from training.systems.sfkt import SFKT, SYSTEM, Config
from training.tasks.tracing import TRACING

WINDOW = 6


@cache
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), Wanted(SYSTEM.reads, Config().max_length, {}))


def model(**settings: object) -> SFKT:
    """Untrained, with weights that are large enough for everything to matter."""
    torch.manual_seed(0)
    built = SFKT(Config(**{"dim": 8, "window": WINDOW, **settings}), data().schema)
    built.prepare(data())
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.3)
    return built.eval()


def batch_of(questions: list[int], responses: list[int]) -> TracingBatch:
    """One student, nobody known."""
    asked, right = (torch.tensor([values or [0]], dtype=torch.int64) for values in (questions, responses))
    return TracingBatch(torch.zeros(1, dtype=torch.int64), asked, right, torch.tensor([len(questions)]), right.float())
