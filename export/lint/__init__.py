"""A linter for any model repository of tritonserver, also for one that recserve did not write.

It reads files only: no server, no GPU. An error keeps a model from loading, makes it answer wrongly, or a hundred
times as slowly, in tritonserver 2.51 as it starts by default; a warning is something that works today and hurts later,
among it what loads only because that server completes configurations, which `recserve serve` does not let it do.
"""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from export.lint.backends import backend_findings
from export.lint.cores import cgroup_cores
from export.lint.entry import Entry, Finding, read_entries
from export.lint.folders import folder_findings
from export.lint.graph import graph_findings
from export.lint.instances import instance_findings
from export.lint.onnx_settings import onnx_setting_findings
from export.lint.scheduling import scheduling_findings
from export.lint.settings import setting_findings
from export.lint.targets import target_findings
from export.lint.tensors import tensor_findings

__all__ = ["Finding", "cgroup_cores", "check", "text"]

_WIDTH = 80

_OF_ONE_MODEL = (
    folder_findings,
    backend_findings,
    tensor_findings,
    scheduling_findings,
    instance_findings,
    setting_findings,
    graph_findings,
    onnx_setting_findings,
)


def check(repository: Path, cores: int | None = None) -> list[Finding]:
    """All findings, errors first, then by file. `cores` is what the server may use; by default what this process may.

    Raises ValueError when `repository` is not a folder.
    """
    if not repository.is_dir():
        raise ValueError(f"{repository} is not a folder; name the folder that holds one folder per model")
    entries, findings = read_entries(repository)
    findings += _findings(entries, cgroup_cores() if cores is None else cores)
    return sorted(set(findings))


def text(finding: Finding) -> str:
    """A finding in lines of at most 80 characters, as far as names allow."""
    place = f"{finding.severity}: {finding.file}"
    lines = [f"{place}: {finding.field}"] if finding.field else [place]
    if len(lines[0]) > _WIDTH:
        lines = [place, f"    {finding.field}"]
    lines += textwrap.wrap(
        f"{finding.reason}; {finding.remedy}",
        _WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def _findings(entries: Sequence[Entry], cores: int) -> Iterator[Finding]:
    for entry in entries:
        for findings in _OF_ONE_MODEL:
            yield from findings(entry)
    yield from target_findings(entries, cores)
