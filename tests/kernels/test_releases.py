"""The releases of Triton that the kernels are held to: the required one is among them, a red lane is a red command."""

import re
import tomllib
from pathlib import Path

import pytest

from kernels import releases

ROOT = Path(__file__).parents[2]
REQUIRED = next(
    name.removeprefix("triton==")
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    if name.startswith("triton==")
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, with a release that cannot be imported."""
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path))
    package = tmp_path / "triton" / "0.0.1" / "triton"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('a broken release')\n")
    return tmp_path


def test_the_release_that_is_required_is_pinned_alike_everywhere_and_tried() -> None:
    assert REQUIRED in releases.RELEASES
    assert re.findall(r"^triton==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE) == [REQUIRED]


@pytest.mark.parametrize("verb", ["test", "record"])
def test_a_release_that_does_not_work_fails_the_command_and_is_named(
    cache: Path, verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert releases.main([verb, "0.0.1"]) == 1
    said = capfd.readouterr()
    assert "triton 0.0.1: FAILED" in said.out
    assert "a broken release" in said.out + said.err


def test_a_release_that_is_there_is_used_as_it_is_and_comes_first(cache: Path) -> None:
    (cache / "triton" / "0.0.1" / "triton" / "__init__.py").write_text("__version__ = '0.0.1'\n")
    check = "import triton, pathlib; pathlib.Path(triton.__file__).with_name('seen').write_text(triton.__version__)"
    assert releases.run("0.0.1", ["-c", check], {})
    assert (cache / "triton" / "0.0.1" / "triton" / "seen").read_text() == "0.0.1"


def test_an_installation_that_fails_leaves_no_release(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(ValueError, match=r"triton 0\.0\.2 cannot be installed .* see pip's words above"):
        releases.install("0.0.2")
    assert not releases.target("0.0.2").exists()


def test_an_unknown_verb_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert releases.main(["tset"]) == 2
    assert "verb must be one of test, record, not 'tset'" in capfd.readouterr().out
