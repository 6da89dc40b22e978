from pathlib import Path

import pytest

from export.lint import Finding, cgroup_cores, check
from export.repository import write_configs
from tests.export.lint_breaks import config, drop_queue, remove, write
from tests.export.lint_broken import BROKEN
from tests.export.lint_broken_runs import BROKEN_RUNS
from tests.export.models import release


def test_published_release_is_clean(published_once: Path) -> None:
    assert check(published_once, cores=2) == []


ALL = BROKEN | BROKEN_RUNS


@pytest.mark.parametrize("name", ALL)
def test_broken_repository_is_found_out(name: str, published: Path) -> None:
    break_it, severity, file, field, reason = ALL[name]
    break_it(published)
    found = [finding for finding in check(published, cores=2) if finding[:3] == (severity, file, field)]
    assert [finding for finding in found if reason in finding.reason]
    assert all(finding.remedy for finding in found)


def test_errors_come_first(published: Path) -> None:
    remove("encoder/1/golden.safetensors")(published)
    config(drop_queue)(published)
    severities = [finding.severity for finding in check(published, cores=2)]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


def test_committed_configs_without_versions_only_lack_versions(tmp_path: Path) -> None:
    write_configs(tmp_path, release())
    assert {finding.reason for finding in check(tmp_path, cores=2)} == {"there is no version to serve"}


def test_model_of_an_unknown_backend_is_let_be(tmp_path: Path) -> None:
    write("trees/config.pbtxt", 'name: "trees"\nbackend: "fil"\n')(tmp_path)
    write("trees/1/forest.json", "{}")(tmp_path)
    assert {finding.severity for finding in check(tmp_path, cores=2)} == {"warning"}


def test_empty_repository_has_no_findings_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert check(tmp_path) == []
    with pytest.raises(ValueError, match="is not a folder"):
        check(tmp_path / "nowhere")


def test_finding_is_a_plain_row() -> None:
    assert Finding._fields == ("severity", "file", "field", "reason", "remedy")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cores_follow_the_quota_of_the_container(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        write(name, text)(tmp_path)
    assert cgroup_cores(tmp_path) == cores


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n"},
        {"cpu.max": "99900000 100000\n"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
    ],
)
def test_cores_without_a_quota_are_those_of_the_process(tmp_path: Path, files: dict[str, str]) -> None:
    unlimited = cgroup_cores(tmp_path)
    for name, text in files.items():
        write(name, text)(tmp_path)
    assert cgroup_cores(tmp_path) == unlimited >= 1
