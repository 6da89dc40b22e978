"""The files of one version folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Literal

from export import client_ids
from export.goldens import make_goldens
from export.kinds import kind_of
from serving import golden, manifest
from training import schema as schema_file
from training.servable import Signature

GOLDEN_FILE = "golden.safetensors"
SCHEMA_FILE = "schema.json"

_LIBRARIES = ("torch", "triton", "onnx", "onnxscript", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a release comes from."""

    kind: Literal["run", "factory"]
    name: str
    """The folder of the run, or `package.module:factory`."""


def write_version(
    folder: Path, signature: Signature, version: int, source: Source, release: Sequence[str] = ()
) -> None:
    """Writes all files of one version into an empty folder, the manifest last. `release` names the models that appear
    together with this one.

    Raises ValueError where the model breaks a rule of export, or the graph answers differently than the module.
    """
    kind = kind_of(signature)
    kind.write(signature, folder)
    client_ids.save_maps(signature, folder)
    golden.write(folder / GOLDEN_FILE, make_goldens(signature))
    if signature.origin.schema is not None:
        _write_json(folder / SCHEMA_FILE, schema_file.to_json(signature.origin.schema))
    facts: dict[str, Any] = {
        "model": signature.name,
        "version": version,
        "source": asdict(source),
        "release": sorted({signature.name, *release}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {library: installed(library) for library in _LIBRARIES},
        **kind.facts(signature),
    }
    manifest.write(folder, facts)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
