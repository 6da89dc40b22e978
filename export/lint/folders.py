"""Checks of the files in a model's folder: version folders, manifests, goldens, model files."""

import json
from collections.abc import Iterator

from export.artifacts import GOLDEN_FILE
from export.lint.entry import DEFAULT_TARGET, Entry, Finding
from export.model_config import KERNEL_BACKEND
from export.repository import is_version, versions
from serving.backends.recserve.program import PROGRAM_FILE
from serving.manifest import MANIFEST_FILE, fingerprint

_NOT_VERSIONS = {"configs", "warmup"}
_MODEL_FILES = {"python": "model.py", KERNEL_BACKEND: PROGRAM_FILE}
"""Backend -> its file in a version folder, where the configuration names no other; ONNX files are read as graphs."""


def folder_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the folder of one model."""
    yield from _version_names(entry)
    for version in versions(entry.folder):
        yield from _goldens(entry, version)
        yield from _manifest(entry, version)
        yield from _model_file(entry, version)


def _version_names(entry: Entry) -> Iterator[Finding]:
    if not versions(entry.folder):
        remedy = "publish a version; an ensemble too needs a folder with a number, which may be empty"
        yield entry.error("", "", "there is no version to serve", remedy)
    for path in sorted(entry.folder.iterdir()):
        if not path.is_dir() or path.name.startswith(".") or path.name in _NOT_VERSIONS or is_version(path.name):
            continue
        reason = "tritonserver ignores a version folder whose name is not a number without leading zeros"
        yield entry.error(path.name, "", reason, "rename it, e.g. to 1")


def _goldens(entry: Entry, version: int) -> Iterator[Finding]:
    if not (entry.folder / str(version) / GOLDEN_FILE).exists():
        reason = "no golden requests: nothing tells whether the server answers what the trained model answers"
        yield entry.warning(f"{version}/{GOLDEN_FILE}", "", reason, "publish the model with recserve export")


def _manifest(entry: Entry, version: int) -> Iterator[Finding]:
    folder, file = entry.folder / str(version), f"{version}/{MANIFEST_FILE}"
    if not (folder / MANIFEST_FILE).exists():
        reason = "no manifest: a changed or half-copied file goes unnoticed"
        yield entry.warning(file, "", reason, "publish the model with recserve export")
        return
    try:
        listed = json.loads((folder / MANIFEST_FILE).read_text())["files"]
        expected = {name: listed[name]["sha256"] for name in listed}
    except (ValueError, KeyError, TypeError) as error:
        yield entry.error(file, "files", f"not a manifest ({error!r})", "publish the version again")
        return
    found = {path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST_FILE}
    for name in sorted(found - set(expected)):
        yield entry.warning(f"{version}/{name}", "", "the manifest does not list this file", "remove it, or publish it")
    for name, digest in sorted(expected.items()):
        if name not in found:
            yield entry.error(f"{version}/{name}", "", "the manifest lists this file", "publish the version again")
        elif fingerprint(folder / name)["sha256"] != digest:
            reason = "the file differs from the one that was published (sha256)"
            yield entry.error(f"{version}/{name}", "", reason, "publish a new version; never edit one that exists")


def _model_file(entry: Entry, version: int) -> Iterator[Finding]:
    config = entry.configs.get(DEFAULT_TARGET)
    if config is None or config.backend not in _MODEL_FILES:
        return
    name = config.default_model_filename or _MODEL_FILES[config.backend]
    if not (entry.folder / str(version) / name).exists():
        reason = f"the backend '{config.backend}' finds no model"
        yield entry.error(f"{version}/{name}", "", reason, "publish the version again")
