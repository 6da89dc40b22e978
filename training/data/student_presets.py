"""The sets of simulated students: for figures of which every one says that nobody real is in it."""

from dataclasses import replace

from training.data.simulated_students import Simulation, simulate
from training.interactions import Dataset

SIMULATED = Simulation(
    name="simulated-students",
    students=8_000,
    concepts=30,
    questions=600,
    guess=0.2,
    learning=(0.15, 0.3, 0.45, 0.6),
    forgetting=(0.005, 0.01, 0.02, 0.04),
    profile=1.2,
    answers=60,
    most_answers=2_000,
)
"""Any question at any time; students who forget. So many of them that a recurrent network learns more from them than it
learns by heart, by the validation part: of 2,000 it does not."""
BLOCKED = replace(SIMULATED, name="simulated-students-blocked", order="blocked")
"""The same, with 5 to 20 answers in a row on one concept, as exercises are set in class."""
REMEMBERING = replace(SIMULATED, name="simulated-students-remembering", forgetting=(0.0,) * 4)
"""The same as `SIMULATED`, in which nobody forgets: what only counts forgetting must gain nothing here."""
LIVE = replace(SIMULATED, name="simulated-students-live", replies=True)
"""The same, whose events say the response as a value: models of it are also asked by student, as answers arrive."""
SYNTHETIC5 = Simulation(
    name="synthetic5",
    students=4_000,
    concepts=5,
    questions=50,
    both=0.0,
    guess=0.25,
    learning=(0.2,),
    forgetting=(0.0,),
    profile=0.0,
    start_spread=5.0,
    difficulty_spread=2.05,
    order="same",
    testing=2_000,
)
"""The recipe of the synthetic data of deep knowledge tracing (NIPS 2015, https://arxiv.org/abs/1506.05908): 5 concepts,
50 questions that 4,000 students all answer in the same order, half of whom test. Spreads and learning are ours, chosen
so that the questions' means reach the AUC that they have on the published file."""

_WHAT = {
    SIMULATED: "answers of students who do not exist, with learning and forgetting; nothing is fetched",
    BLOCKED: "students who do not exist, several answers in a row on one concept; nothing is fetched",
    REMEMBERING: "students who do not exist and forget nothing; nothing is fetched",
    LIVE: "the students of simulated-students, for a server that keeps their states; nothing is fetched",
    SYNTHETIC5: "5 concepts, 50 questions, 4,000 students who do not exist; nothing is fetched",
}


def _dataset(simulation: Simulation, what: str) -> Dataset:
    return Dataset(
        name=simulation.name,
        what=what,
        licence="made here",
        read=lambda _cache, _report: simulate(simulation).interactions,
    )


DATASETS = tuple(_dataset(simulation, what) for simulation, what in _WHAT.items())
