"""Checks of the files in a model's folder: version folders, manifests, goldens, model files."""

import json
import re
from collections.abc import Iterator

from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.artifacts import GOLDEN_FILE
from export.kinds import KERNEL_BACKEND
from export.lint.completion import KINDS, settled_backend
from export.lint.entry import Entry, Finding
from export.lint.python_source import source_problem
from export.lint.versions import found_versions, served_versions
from export.repository import versions
from serving.backends.recserve.program import PROGRAM_FILE
from serving.manifest import MANIFEST_FILE, fingerprint

_OTHER_FOLDERS = {"configs", "warmup", "initial_state"}
_LIKE_A_VERSION = re.compile(r"0\d+|v\.?\d.*|latest", re.IGNORECASE)
_MODEL_FILES = {kind.backend for kind in KINDS} - {"onnxruntime"} | {KERNEL_BACKEND}
"""Backends that need their model file in each version; ONNX files are read as graphs."""


_OTHER_FILES = {("pytorch", "pytorch_libtorch"): ("model.py",), ("python", "pytorch"): ("model.pt",)}
"""Backend and platform -> what may stand in place of the model file."""


def folder_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the folder of one model."""
    yield from _version_names(entry)
    for file, config in entry.configs.items():
        yield from _policy(entry, file, config)
    for version in versions(entry.folder):
        yield from _published(entry, version)
    yield from sorted({finding for config in entry.configs.values() for finding in _served(entry, config)})


def _version_names(entry: Entry) -> Iterator[Finding]:
    found = found_versions(entry.folder)
    ignored = sorted(
        path.name
        for path in entry.folder.iterdir()
        if path.is_dir() and path.name not in {*found.values(), *_OTHER_FOLDERS} and not path.name.startswith(".")
    )
    reason = "tritonserver ignores a version folder whose name is not a number without leading zeros"
    if not found and ignored:
        for name in ignored:
            yield entry.error(name, "", f"{reason}, and there is no other", "rename it, e.g. to 1")
    elif not found:
        remedy = "publish a version; an ensemble too needs a folder with a number, which may be empty"
        yield entry.error("", "", "there is no version to serve", remedy)
    for name in ignored if found else []:
        if _LIKE_A_VERSION.fullmatch(name):
            yield entry.warning(name, "", reason, "rename it if it is a version")


def _policy(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    found, policy = sorted(found_versions(entry.folder)), config.version_policy
    if not found or served_versions(entry.folder, config):
        return
    if policy.HasField("specific"):
        reason = f"{list(policy.specific.versions)}, but the versions are {found}"
        yield entry.error(file, "version_policy.specific.versions", reason, "name a version that is there")
    else:
        remedy = "set it to 1 or more"
        yield entry.error(file, "version_policy.latest.num_versions", "0: no version is served", remedy)


def _served(entry: Entry, config: ModelConfig) -> Iterator[Finding]:
    found = found_versions(entry.folder)
    for version in served_versions(entry.folder, config):
        if found[version] != str(version):
            reason = f"the server takes it for version {version}, and then looks for a folder '{version}'"
            yield entry.error(found[version], "", reason, "give it a name that does not begin with a digit")
        elif settled_backend(config) in _MODEL_FILES:
            yield from _model_file(entry, config, version)


def _published(entry: Entry, version: int) -> Iterator[Finding]:
    """What `recserve export` writes beside a model."""
    folder, remedy = entry.folder / str(version), "publish the model with recserve export"
    missing = [name for name in (GOLDEN_FILE, MANIFEST_FILE) if not (folder / name).exists()]
    if len(missing) == 2:
        reason = "neither manifest nor golden requests: nothing tells whether the files and the answers are right"
        yield entry.warning(str(version), "", reason, remedy)
    elif GOLDEN_FILE in missing:
        reason = "no golden requests: nothing tells whether the server answers what the trained model answers"
        yield entry.warning(f"{version}/{GOLDEN_FILE}", "", reason, remedy)
    elif MANIFEST_FILE in missing:
        reason = "no manifest: a changed or half-copied file goes unnoticed"
        yield entry.warning(f"{version}/{MANIFEST_FILE}", "", reason, remedy)
    if MANIFEST_FILE not in missing:
        yield from _manifest(entry, version)


def _manifest(entry: Entry, version: int) -> Iterator[Finding]:
    folder, file = entry.folder / str(version), f"{version}/{MANIFEST_FILE}"
    try:
        listed = json.loads((folder / MANIFEST_FILE).read_text())["files"]
        expected = {name: listed[name]["sha256"] for name in listed}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # A file of this name may be somebody else's: only beside our goldens it is ours.
        finding = entry.error if (folder / GOLDEN_FILE).exists() else entry.warning
        yield finding(file, "files", f"not a manifest ({error!r})", "publish the version again")
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


def _model_file(entry: Entry, config: ModelConfig, version: int) -> Iterator[Finding]:
    name = config.default_model_filename or PROGRAM_FILE
    folder = entry.folder / str(version)
    others = [*config.cc_model_filenames.values(), *_OTHER_FILES.get((config.backend, config.platform), ())]
    if not any((folder / file).exists() for file in (name, *others)):
        reason = f"the backend '{config.backend}' finds no model"
        yield entry.error(f"{version}/{name}", "", reason, "add the file, or name it in default_model_filename")
    elif config.backend == "python" and (folder / name).is_file() and (problem := source_problem(folder / name)):
        yield entry.error(f"{version}/{name}", "", *problem)
