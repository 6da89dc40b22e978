"""KServe's kinds, as the Python models of its release 0.21.0 have them: names and types of fields, and which must be
there. The release's package is read and not installed: its dependencies are many. Fields of Kubernetes itself are
left to Kubernetes' own schemas."""

import ast
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from serving.files import locked
from tests.production.helm import KEPT

PACKAGE = "kserve==0.21.0"
SHA256 = "df9bc5888704d9085015e08f1a8fced5ff0698f3becc6212d4e7b8234c71623b"
KINDS = {
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
}
_PLAIN = {"str": "string", "bool": "boolean", "int": "integer", "float": "number"}


@cache
def schema(kind: tuple[str, str]) -> dict[str, Any]:
    """JSON Schema of a kind; all fields that it does not know are refused."""
    classes = _classes()
    reached, waiting = {}, [KINDS[kind]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = _object(classes[name])
            waiting += [found for found in _names(classes[name].types) if found in classes]
    return {"$ref": f"#/$defs/{KINDS[kind]}", "$defs": reached}


class _Class:
    """One of the generated classes."""

    def __init__(self, tree: ast.ClassDef) -> None:
        said = {
            one.targets[0].id: ast.literal_eval(one.value)
            for one in tree.body
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
        }
        self.types: dict[str, str] = said["openapi_types"]
        self.keys: dict[str, str] = said["attribute_map"]
        refused = "Invalid value for `(\\w+)`, must not be `None`"
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        self.needed = sorted(found[1] for text in texts if (found := re.match(refused, str(text))))


def _classes() -> dict[str, _Class]:
    found = {}
    with zipfile.ZipFile(_wheel()) as wheel:
        for name in wheel.namelist():
            if name.startswith("kserve/models/") and name.endswith(".py") and not name.endswith("__init__.py"):
                for tree in ast.parse(wheel.read(name)).body:
                    if isinstance(tree, ast.ClassDef):
                        found[tree.name] = _Class(tree)
    return found


def _wheel() -> Path:
    folder = KEPT.resolve() / f"kserve-{SHA256[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not (kept := folder / "kserve.whl").is_file():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
                subprocess.run([*pip, "--dest", scratch, PACKAGE], check=True)
                fetched = next(Path(scratch).glob("*.whl"))
                assert hashlib.sha256(fetched.read_bytes()).hexdigest() == SHA256
                fetched.rename(kept)
    return kept


def _names(types: dict[str, str]) -> list[str]:
    return [name for text in types.values() for name in re.findall(r"\w+", text)]


def _object(one: _Class) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {one.keys[name]: _type(text) for name, text in one.types.items()},
        "required": [one.keys[name] for name in one.needed],
    }


def _type(text: str) -> dict[str, Any]:
    if found := re.fullmatch(r"list\[(.+)\]", text):
        return {"type": "array", "items": _type(found[1])}
    if found := re.fullmatch(r"dict\(str, (.+)\)", text):
        return {"type": "object", "additionalProperties": _type(found[1])}
    if text in _PLAIN:
        return {"type": _PLAIN[text]}
    if re.match(r"V1(alpha|beta)\d", text):
        return {"$ref": f"#/$defs/{text}"}
    # A type of Kubernetes itself, or an object of any form.
    return {}
