"""README.md and docs/ are true of the code: tables, commands, options, links, names; no block is left unchecked."""

import importlib
import importlib.util
import itertools
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve import pages as tables
from recserve.cli import command
from tests import worked_example
from tests.command_line import all_paths, commands_of, options_of, unknown
from tests.pages import BESIDE, PAGES, ROOT, Block, anchor_of, anchors, blocks, links, spans, text_of
from training.registry import SYSTEMS
from training.system import System

README_BYTES = 8_000
MADE_LATER = {
    "kernels/results/*.json": "by a run on a GPU",
    "training/baselines/dcn.py": "by who follows docs/adding-a-system.md",
}
PACKAGES = ("training", "export", "kernels", "serving", "loadtest", "recserve")
CLIENT = "recserve_client"
FOLDERS = (*PACKAGES, "client", "tests", "docs", "model_repository", "deploy", ".ci")
TARGETS = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SOURCES = "".join(path.read_text() for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
KINDS = {"sh": {"", "run"}, "python": {"run", "NAME.py"}, "toml": {""}, "csv": {"NAME.csv"}}
"""Kind of block -> what may stand behind it."""


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system that a page adds can be named by the pages; what was known before does not count."""
    with worked_example.registered(tmp_path_factory.mktemp("example")) as system:
        for known in (commands_of, options_of):
            known.cache_clear()
        yield system
    for known in (commands_of, options_of):
        known.cache_clear()


@pytest.mark.parametrize("region", tables.REGIONS, ids=lambda region: f"{region.page}-{region.name}")
def test_a_generated_table_is_that_of_the_committed_results(
    region: tables.Region, example: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SYSTEMS, example.name)
    text = text_of(region.page)
    assert tables.written(region, text) == text, "write it anew with python -m recserve.pages"


def test_no_page_has_a_region_that_nobody_writes() -> None:
    marked = {(page, name) for page in PAGES for name in re.findall(r"<!-- /(\w+) -->", text_of(page))}
    assert marked == {(region.page, region.name) for region in tables.REGIONS}


def test_the_picture_of_the_architecture_is_the_drawn_one() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))["svg"]()
    assert text_of("docs/architecture.svg") == drawn, "draw it anew with python docs/draw_architecture.py"


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").encode()) <= README_BYTES


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_checked_or_says_why_not(page: str) -> None:
    for block in blocks(page):
        label = re.sub(r"^[\w]+(\.\w+)$", r"NAME\1", block.label)
        if block.reason is None:
            assert label in KINDS.get(block.kind, ()), f"a block '{block.kind} {block.label}' that no test knows"
        else:
            assert block.kind in {*KINDS, "text"}
            assert not block.label, "marked, and run all the same"
        _check(block)


def _check(block: Block) -> None:
    """Compiles Python, reads TOML and parses commands, also of a block that is not run."""
    match block.kind:
        case "sh":
            for line in block.text.splitlines():
                _check_command(shlex.split(line, comments=True))
        case "python":
            compile(block.text, "a page", "exec")
        case "toml":
            tomllib.loads(block.text)


def _check_command(words: list[str]) -> None:
    match words:
        case []:
            pass
        case ["recserve", *arguments]:
            command(arguments)
        case ["make", *targets]:
            assert set(targets) <= TARGETS
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["pip", "install", folder]:
            assert (ROOT / folder / "pyproject.toml").is_file()
        case ["mkdir", *_] | ["openssl", "req", *_]:
            pass  # run by tests/production/test_tls_served.py
        case ["printf", _, ">", _]:
            pass  # run by tests/production/test_edge_docs.py
        case ["locust", "-f", file, *_] | ["python", file, *_]:
            assert (ROOT / file).is_file()
        case _:
            pytest.fail(f"a command that no test knows: {shlex.join(words)}")


@pytest.mark.parametrize("page", BESIDE)
def test_commands_of_a_page_beside_the_code_are_parsed(page: str) -> None:
    for block in blocks(page):
        if block.kind == "sh":
            _check(block)


@pytest.mark.parametrize("page", [*PAGES, *BESIDE])
def test_links_and_anchors_of_a_page_resolve(page: str) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(str(target.relative_to(ROOT))), link


@pytest.mark.parametrize("page", [*PAGES, *BESIDE])
def test_commands_and_options_that_a_page_names_exist(page: str) -> None:
    known = set().union(*(options_of(*path) for path in all_paths()))
    for span in spans(page):
        match span.split():
            case ["recserve", _, *_]:
                assert unknown(span.removeprefix("recserve ")) == []
            case ["make", *_] | ["python", "-m", *_] as words:
                _check_command(words)
            case [option, *_] if option.startswith("--"):
                assert option.partition("=")[0] in known, span


@pytest.mark.parametrize("page", [*PAGES, *BESIDE])
def test_files_and_modules_that_a_page_names_exist(page: str) -> None:
    for span in spans(page):
        pattern = re.sub(r"\*+", "*", re.sub(r"<[^>]*>|\[[^]]*\]", "*", span))
        folder, _, _ = pattern.partition("/")
        if "/" in pattern and folder in FOLDERS and pattern not in MADE_LATER:
            for one in _expanded(pattern):
                assert " " in one or any(ROOT.glob(one)), span
        elif re.fullmatch(rf"(?:{'|'.join((*PACKAGES, CLIENT))})(?:\.\w+)+", pattern) and not pattern.endswith(".md"):
            assert _is_there(pattern), span


@pytest.mark.parametrize("page", [*PAGES, *BESIDE])
def test_metrics_and_variables_that_a_page_names_exist(page: str) -> None:
    names = {span.removeprefix("$") for span in spans(page) if re.fullmatch(r"\$?(RECSERVE|recserve)_\w+", span)}
    assert {name for name in names - {CLIENT} if f'"{name}' not in SOURCES} == set()


def _expanded(pattern: str) -> list[str]:
    """`a/{b,c}` as `a/b` and `a/c`."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(choice) for choice in itertools.product(*parts)]


def _is_there(dotted: str) -> bool:
    """Whether a module of this name, or a name inside one, exists."""
    module, _, name = dotted.rpartition(".")
    if importlib.util.find_spec(module) is None:
        return False
    return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(dotted) is not None


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = {"README.md"}, ["README.md"]
    while left:
        page = left.pop()
        paths = {
            (ROOT / page).parent.joinpath(link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"
        }
        new = {str(path.relative_to(ROOT)) for path in paths if path.suffix == ".md"} - reached
        reached |= new
        left += new
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", [page for page in PAGES if "Contents:" in text_of(page)])
def test_contents_name_every_section_of_their_page_in_order(page: str) -> None:
    sections = [anchor_of(heading) for heading in re.findall(r"^## (.*)$", text_of(page), re.MULTILINE)]
    named = [link[1:] for link in links(page) if link[0] == "#"]
    assert sections
    assert named[: len(sections)] == sections


@pytest.mark.parametrize("page", [page for page in PAGES if re.search(r"decisions/\d", page)])
def test_a_decision_is_short_and_says_what_it_costs(page: str) -> None:
    text = text_of(page)
    number = int(Path(page).name[:3])
    assert text.startswith(f"# {number}. ")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Price"]
    assert re.search(r"^Source: ", text, re.MULTILINE)
    assert 10 <= len(text.splitlines()) <= 25
