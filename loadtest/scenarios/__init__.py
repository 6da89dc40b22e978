"""All load scenarios; a new one is a file that declares its traffic, and a line here."""

from loadtest.scenarios import dea, lrea, matt, reg4rec
from loadtest.scenarios.scenario import Direct, Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        dea.RANKER,
        lrea.RANKER,
        lrea.SCORER,
        *matt.ENSEMBLES,
        reg4rec.GENERATE_THEN_RANK,
        reg4rec.GENERATOR,
    )
}

__all__ = ["SCENARIOS", "Direct", "Scenario"]
