"""One of MF-DAKT's two subspaces: tables of its own, attention over the factors of practice, convolutions that make
them one vector, attention over what interacts, and interactions or sums.

Legend: N rows, W concepts of a question, D width, K what is weighed (3 factors, or 4 vectors), C concepts.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.layers.answers import mean_of
from training.layers.items import IdEmbedding
from training.schema import Schema, size_of
from training.systems.mfdakt.config import Config
from training.systems.mfdakt.norm import Norm
from training.systems.mfdakt.practice import RIGHT
from training.warm_start import Axis

FACTORS = ("right", "wrong", "recent")
PARTS = ("student", "question", "concepts", "practice")
_START = 0.1
"""Standard deviation of vectors before training."""
_TOP = 32
"""Hidden units of the last network."""


class Rows(NamedTuple):
    """Questions asked of students."""

    student: Int64[Tensor, " N"]
    question: Int64[Tensor, " N"]
    concepts: Int64[Tensor, "N W"]
    """0 = none."""
    last: Int64[Tensor, "N W"]
    """As `training.systems.mfdakt.practice`."""
    wins: Float[Tensor, "N W"]
    """Weights of the factors, 0 where there is no concept."""
    fails: Float[Tensor, "N W"]
    recent: Float[Tensor, "N W"]


class Scored(NamedTuple):
    """What a subspace says, and what it looked at."""

    logit: Float[Tensor, " N"]
    factors: Float[Tensor, "N 3"]
    """Weights of `FACTORS`, of sum 1."""
    parts: Float[Tensor, "N 4"]
    """Weights of `PARTS`, of sum 4."""


def interactions(x: Float[Tensor, "N K D"]) -> Float[Tensor, "N D"]:
    """The sum over all pairs of their products, elementwise."""
    return 0.5 * (x.sum(dim=1).square() - x.square().sum(dim=1))


class Weigh(nn.Module):
    """softmax(W2 drop(relu(norm(W1 x)))), x all vectors side by side; or the same for each."""

    def __init__(self, count: int, config: Config) -> None:
        super().__init__()
        self.count = count
        self.network = _layers(count * config.dim, config.hidden, count, config.dropout) if config.attention else None

    def forward(self, x: Float[Tensor, "N K D"]) -> Float[Tensor, "N K"]:
        """Weights of sum 1."""
        if self.network is None:
            return x.new_full(x.shape[:2], 1 / self.count)
        return self.network(x.flatten(1)).softmax(dim=1)


class Subspace(nn.Module):
    """See the module's docstring."""

    def __init__(self, kind: Literal["interaction", "sum"], config: Config, schema: Schema) -> None:
        super().__init__()
        self.kind, dim, concept = kind, config.dim, schema.only("concept", "item")
        self.num_concepts = size_of(concept)
        self.student = IdEmbedding(Axis((schema.key("user"),)), dim)
        self.question = IdEmbedding(Axis((schema.key("item"),)), dim)
        self.concept, self.success, self.fail = (IdEmbedding(Axis((concept,), of_values=True), dim) for _ in range(3))
        # Rows of what was answered right last, then of wrong and of never.
        self.recent = IdEmbedding(Axis((concept,) * 3, of_values=True), dim)
        for table in (self.student, self.question, self.concept, self.success, self.fail, self.recent):
            nn.init.normal_(table.weight, std=_START)
        nn.init.normal_(self.student.weight, std=0.01)
        self.factors, self.parts = Weigh(len(FACTORS), config), Weigh(len(PARTS), config)
        self.first, self.second = nn.Linear(2 * dim, dim), nn.Linear(2 * dim, dim)
        top = _layers(dim, _TOP, 1, config.dropout, bias=False)
        self.top = nn.Sequential(Norm(dim), nn.Dropout(config.dropout), *top)
        # What question vectors are trained to tell, before there are answers and beside them.
        self.told_first = nn.Linear(dim, 1)
        self.told = _layers(dim, config.hidden, 1, config.dropout)

    def forward(self, x: Rows) -> Scored:
        """Logits of right answers."""
        practised = self.practised(x)
        factors = self.factors(practised)
        attempt = self.attempt(practised * factors[:, :, None])
        concepts = mean_of(self.concept(x.concepts), x.concepts)
        vectors = torch.stack((self.student(x.student), self.question(x.question), concepts, attempt), dim=1)
        parts = len(PARTS) * self.parts(vectors)
        weighed = vectors * parts[:, :, None]
        pooled = interactions(weighed) if self.kind == "interaction" else weighed.sum(dim=1)
        return Scored(self.top(pooled)[:, 0], factors, parts)

    def practised(self, x: Rows) -> Float[Tensor, "N 3 D"]:
        """The vectors of `FACTORS`: each the sum over the concepts, by their weights."""
        result = self.recent.at(x.concepts + self.num_concepts * (RIGHT - x.last))
        pairs = (x.wins, self.success(x.concepts)), (x.fails, self.fail(x.concepts)), (x.recent, result)
        return torch.stack([(weight[:, :, None] * vectors).sum(dim=1) for weight, vectors in pairs], dim=1)

    def attempt(self, factors: Float[Tensor, "N 3 D"]) -> Float[Tensor, "N D"]:
        """Two convolutions over neighbours, three to two to one."""
        two = self.first(torch.cat((factors[:, :-1], factors[:, 1:]), dim=2)).relu()  # (N, 2, D)
        return self.second(two.flatten(1)).relu()

    def tell(self, question: Int64[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Difficulties that the vectors of questions tell."""
        return self.told(self.question(question))[:, 0]


def _layers(width: int, hidden: int, out: int, dropout: float, *, bias: bool = True) -> nn.Sequential:
    inner = nn.Linear(width, hidden), Norm(hidden), nn.ReLU(), nn.Dropout(dropout)
    return nn.Sequential(*inner, nn.Linear(hidden, out, bias=bias))
