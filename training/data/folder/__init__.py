"""A team's own tables: a folder of Parquet or CSV files and one `schema.toml`, as a data set like any other."""

from pathlib import Path

from training.data.folder.build import inspect
from training.data.folder.description import describe
from training.data.folder.problems import Problems
from training.interactions import Dataset, Interactions, Report


def folder(path: Path) -> Dataset:
    """The data set of a folder; its tables are read when it is. Raises ValueError, in one line, for what is wrong."""
    problems = Problems()
    description = describe(path, problems)
    problems.stop()
    assert description is not None

    def read(cache: Path | None, report: Report, day: str | None = None) -> Interactions:
        found = inspect(path, cache, report, day)
        found.problems.stop()
        for warning in found.problems.warnings:
            report(f"warning: {warning}")
        assert found.interactions is not None
        return found.interactions

    what = f"own tables in {path.resolve()}"
    return Dataset(name=description.name, what=what, licence=description.licence, read=read, read_until=read)
