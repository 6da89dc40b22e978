"""All data sets, by name. Data sets are sources; tasks are views of them, so that none is multiplied by tasks."""

from pathlib import Path

from training.data import (
    amazon_sequences,
    gowalla,
    hin_amazon,
    kuairand,
    ml1m_clean,
    movielens,
    planted_clicks,
    planted_retrieval,
    student_presets,
    synthetic_sequences,
)
from training.data.folder import folder
from training.data.folder.registry import registered
from training.interactions import Dataset, Interactions, Report, silent
from training.window import until

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        *amazon_sequences.DATASETS,
        gowalla.DATASET,
        hin_amazon.DATASET,
        kuairand.DATASET,
        ml1m_clean.DATASET,
        movielens.DATASET,
        movielens.OBJECTIVES,
        planted_clicks.DATASET,
        planted_retrieval.DATASET,
        *student_presets.DATASETS,
        synthetic_sequences.DATASET,
    )
}


def dataset(name: str) -> Dataset:
    """The data set of that name, built in or a folder that was added. ValueError lists the names there are."""
    if name in DATASETS:
        return DATASETS[name]
    own = registered()
    if name not in own:
        there = ", ".join([*DATASETS, *own])
        raise ValueError(
            f"no data set is called '{name}'; there are: {there}; `recserve data add FOLDER` adds your own"
        )
    if not own[name].is_dir():
        raise ValueError(f"data set '{name}' was in {own[name]}, which is gone; add the folder again where it is now")
    found = folder(own[name])
    if found.name != name:
        raise ValueError(f"{own[name]} was added as '{name}' and now calls itself '{found.name}'; add it again")
    return found


def source(place: str) -> Dataset:
    """A data set by its name, or a folder of tables that nobody added. Raises ValueError as `dataset` does."""
    return folder(Path(place)) if Path(place).is_dir() and place not in DATASETS else dataset(place)


def read(name: str, cache: Path | None = None, report: Report = silent, before: str | None = None) -> Interactions:
    """A data set in its canonical form; its events before a day, YYYY-MM-DD, where one is given."""
    found = dataset(name)
    if before is None:
        return found.read(cache, report)
    return found.read_until(cache, report, before) if found.read_until else until(found.read(cache, report), before)
