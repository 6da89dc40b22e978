"""Our packages are ours: their names are common, and another distribution may bring the same."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from recserve.names import PACKAGES, ROOT, check_names


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_comes_from_this_repository(name: str) -> None:
    spec = find_spec(name)
    assert spec is not None
    assert [Path(place) for place in spec.submodule_search_locations or []] == [Path(__file__).parents[1] / name]


def test_every_package_of_the_repository_is_checked() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(PACKAGES)
    check_names()


def run_beside(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line with a folder first on the path."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from recserve.__main__ import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)


def write_package(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    return folder / name


def test_a_package_of_somebody_else_is_refused_by_place_in_one_line(tmp_path: Path) -> None:
    place = write_package(tmp_path, "serving")
    result = run_beside(tmp_path, "systems")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"error: package 'serving' is taken from {place} and not from {ROOT / 'serving'}: "
        "move it away, or take its folder out of PYTHONPATH\n"
    )


def test_a_distribution_of_somebody_else_is_named_to_be_uninstalled(tmp_path: Path) -> None:
    write_package(tmp_path, "training")
    metadata = tmp_path / "common_names-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: common-names\nVersion: 1.0\n")
    (metadata / "top_level.txt").write_text("training\n")
    result = run_beside(tmp_path, "systems")
    assert result.returncode == 2
    assert result.stderr.endswith("pip uninstall common-names\n")


def test_a_module_of_somebody_else_counts_too(tmp_path: Path) -> None:
    (tmp_path / "export.py").touch()
    result = run_beside(tmp_path, "systems")
    assert result.returncode == 2
    assert f"package 'export' is taken from {tmp_path / 'export.py'} and" in result.stderr
