"""All load scenarios; a new one is a file that declares its traffic, and a line here."""

from loadtest.scenarios import dea, lrea, matt
from loadtest.scenarios.scenario import Direct, Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (dea.RANKER, lrea.RANKER, lrea.SCORER, *matt.ENSEMBLES)
}

__all__ = ["SCENARIOS", "Direct", "Scenario"]
