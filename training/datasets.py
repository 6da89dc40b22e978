"""All data sets, by name. Data sets are sources; tasks are views of them, so that none is multiplied by tasks."""

from pathlib import Path

from training.data import hin_amazon, movielens
from training.interactions import Dataset, Interactions, Report, silent

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (hin_amazon.DATASET, movielens.DATASET)}


def dataset(name: str) -> Dataset:
    """The data set of that name; ValueError lists the names there are."""
    if name not in DATASETS:
        raise ValueError(f"no data set is called '{name}'; there are: {', '.join(DATASETS)}")
    return DATASETS[name]


def read(name: str, cache: Path | None = None, report: Report = silent) -> Interactions:
    """A data set in its canonical form."""
    return dataset(name).read(cache, report)
