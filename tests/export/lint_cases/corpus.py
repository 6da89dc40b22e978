"""All cases, the linter's word on each, and the server's, which is kept in verdicts.json.

`python -m tests.export.lint_cases.corpus` asks the server anew, writes verdicts.json and prints the table.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from export.lint import Finding, check
from tests.export.lint_cases import (
    ensembles,
    files,
    graph_files,
    graphs,
    instances,
    scheduling,
    sequences,
    server,
    tensors,
)
from tests.export.lint_cases.case import Case

VERDICTS = Path(__file__).with_name("verdicts.json")
STRICT = ("--disable-auto-complete-config",)
_MANY_CORES = 64
_FILES = (tensors, scheduling, sequences, instances, files, ensembles, graphs, graph_files)

CASES: dict[str, Case] = {case.name: case for module in _FILES for case in module.cases()}


def linted(folder: Path) -> dict[str, list[Finding]]:
    """Case -> the linter's errors about its models."""
    for case in CASES.values():
        case.write(folder)
    errors: dict[str, list[Finding]] = {}
    for finding in check(folder, cores=_MANY_CORES):
        if finding.severity == "error":
            errors.setdefault(finding.file.split("/")[0], []).append(finding)
    return {name: [error for model in case.models for error in errors.get(model, [])] for name, case in CASES.items()}


def judged(folder: Path, names: Sequence[str], strict: bool = False) -> dict[str, str]:
    """Case -> why tritonserver does not load it; empty where it does."""
    repository = folder / "repository"
    for name in names:
        CASES[name].write(repository)
    last = sorted(names, key=lambda name: CASES[name].hangs)
    replies = server.ask(repository, last, folder, STRICT if strict else ())
    return {name: replies[name].replace(str(repository), "") for name in sorted(names)}


def of_judge(judge: str) -> list[str]:
    """Names of the cases that `judge` decides."""
    return [name for name, case in CASES.items() if case.judge == judge]


def opened(folder: Path, name: str) -> str:
    """Why ONNX Runtime does not open the graph of a case; empty where it does."""
    CASES[name].write(folder)
    path = folder / name / "1" / "model.onnx"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(path / path.name if path.is_dir() else path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error).splitlines()[0]
    return ""


def table(errors: Mapping[str, Sequence[Finding]]) -> str:
    """Found, missed and false, by judge. Found is what is refused and has one error, on the field that is wrong."""
    lines = [f"{'judge':<12}{'cases':>6}{'refused':>9}{'found':>7}{'missed':>8}{'false':>7}"]
    for judge in ("core", "onnxruntime", "source", "machine"):
        cases = [CASES[name] for name in of_judge(judge)]
        right = {case.name: [error.field for error in errors[case.name]] == [case.field] for case in cases}
        refused = [case.name for case in cases if case.field is not None]
        found = sum(right[name] for name in refused)
        false = sum(bool(errors[case.name]) for case in cases if case.field is None)
        lines.append(f"{judge:<12}{len(cases):>6}{len(refused):>9}{found:>7}{len(refused) - found:>8}{false:>7}")
    return "\n".join(lines)


def main() -> None:
    """Asks the server about all cases, writes what it says, prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        verdicts = judged(Path(folder) / "ask", of_judge("core"))
        VERDICTS.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n")
        for name, reason in verdicts.items():
            if bool(reason) != (CASES[name].field is not None):
                print(f"{name}: the case says {CASES[name].field!r}, the server '{reason}'")
        print(table(linted(Path(folder) / "lint")))


if __name__ == "__main__":
    main()
