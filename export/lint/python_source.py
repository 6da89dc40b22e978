"""Checks of a model.py: whether it can be read, and has the class that tritonserver's Python backend runs."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

_CLASS = "TritonPythonModel"


def source_problem(path: Path) -> tuple[str, str] | None:
    """Reason and remedy where the file cannot be a Python model; None where it can."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        return f"not Python: {error}", "correct the source"
    if not any(name in (_CLASS, "*") for name in _names(tree.body)):
        return f"defines no class {_CLASS}", f"name the model's class {_CLASS}"
    return None


def _names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that the statements bind in their module, also in branches."""
    for statement in body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.Assign(targets=targets):
                yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case _:
                for block in ("body", "orelse", "finalbody"):
                    yield from _names(getattr(statement, block, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _names(handler.body)
