"""All systems, by name."""

from training.baselines import din, pooling
from training.system import System
from training.systems import lrea

SYSTEMS: dict[str, System] = {
    system.name: system for system in (din.SYSTEM, lrea.SYSTEM, pooling.MEAN, pooling.RECENCY)
}


def system(name: str) -> System:
    """The system of that name; ValueError lists the names there are."""
    if name not in SYSTEMS:
        raise ValueError(f"no system is called '{name}'; there are: {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
