"""Ratchets: one place tells the kinds of served models apart, and the contracts of training know no paper."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.steps import STEPS, USER_EVENTS
from training.steps import ann, path_sampler, user_rows, user_state

ROOT = Path(__file__).parents[1]
KINDS = {"Servable", "KernelServable", "EnsembleServable", "StepServable"}
DISPATCH = "export/kinds.py"
PRODUCT = ("recserve", "loadtest", "export", "training", "serving")


def sources() -> Iterator[tuple[str, str]]:
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def told_apart(source: str) -> Iterator[str]:
    """Where a kind is asked for: by isinstance, a class pattern, or its type."""
    for node in ast.walk(ast.parse(source)):
        named = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} & KINDS
        named |= {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute)} & KINDS
        is_asked = isinstance(node, ast.MatchClass) or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        )
        is_compared = isinstance(node, ast.Compare) and "type(" in ast.unparse(node)
        if named and (is_asked or is_compared):
            yield ast.unparse(node)


def imported(source: str) -> set[str]:
    """Modules that a file imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(one, Servable)",
        "isinstance(one, servable.Servable | KernelServable)",
        "issubclass(kind, (Servable, EnsembleServable))",
        "type(one) is StepServable",
        "match one:\n    case EnsembleServable(steps=steps):\n        pass",
    ],
)
def test_the_ratchet_sees_a_kind_that_is_asked_for(source: str) -> None:
    assert list(told_apart(source))


def test_kinds_of_servables_are_told_apart_in_one_place() -> None:
    found = [f"{path}: {asked}" for path, source in sources() if path != DISPATCH for asked in told_apart(source)]
    assert found == []


def test_servables_import_no_paper_and_no_hot_op() -> None:
    """What a step needs of a kernel is in the file that makes the step."""
    modules = imported((ROOT / "training" / "servable.py").read_text())
    assert "torch" in modules
    assert not {name for name in modules if name.startswith(("kernels", "training.systems", "training.baselines"))}


def test_what_training_makes_the_serving_side_opens() -> None:
    """All but the step of a model that comes with us."""
    assert {module.KIND for module in (ann, path_sampler, user_rows, user_state)} == set(STEPS) - {USER_EVENTS}
