"""Releases of models: several models that belong together get one version number and appear together or not at all.

A release is staged in a folder beside the repository (`.<repository>.staging`), proven against the eager models there,
written through to the disk, and only then renamed into place: a version of a model that is there, or a new model as a
whole, as tritonserver does not start over a folder without a configuration, be it hidden. What a publish that was cut
off leaves, the next one removes.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from export import stored
from export.artifacts import Release, Source, write_version
from export.client_ids import ensemble_faults
from export.kinds import kind_of
from export.model_config import ensemble_problems, model_config, read_config, render
from export.published import CONFIG_FILES, refuse_another
from export.run_sizes import with_run_size
from serving import manifest, releases, staging
from serving.backends.onnxruntime.model_spec import RUN_ELEMENTS
from serving.files import replace_text, sync
from serving.identity import Identity
from serving.versions import versions
from training.schema import Schema
from training.servable import Signature


def publish(
    repository: Path,
    signatures: Sequence[Signature],
    source: Source,
    schema: Schema | Mapping[str, Schema] | None = None,
    version: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> int:
    """Publishes one release of all `signatures`, which is then the one to be served, and returns its version: one above
    the newest of any of them.

    `schema` is that of all models whose origin has none, or each one's by its name.

    Raises ValueError, with the repository's versions untouched, when a model cannot be served or answers differently
    than its eager form, when `version` exists, when a model of the same name with another origin or signature is
    published already, or when another publish is under way.
    """
    origins = schema if isinstance(schema, Mapping) else {signature.name: schema for signature in signatures}
    signatures = [_of_schema(signature, origins.get(signature.name)) for signature in signatures]
    is_chosen = releases.served_versions(repository).keys() & {signature.name for signature in signatures}
    version = _add(repository, signatures, source, version, report)
    if is_chosen:
        releases.change(repository, whole_of(signatures), lambda now: now.at(version, "exported"))
    return version


def publish_beside(
    repository: Path, signatures: Sequence[Signature], source: Source, report: Callable[[str], None]
) -> int:
    """As `publish`, but what is served of these models stays it; where nothing is, the release is served, as a server
    loads all models that it finds.

    Raises ValueError as well where a release of a new name has models that are served.
    """
    whole, names = whole_of(signatures), [signature.name for signature in signatures]
    there = {name: found[-1] for name in names if (found := versions(repository / name))}
    if there and whole not in there:
        raise ValueError(
            f"'{whole}' is new and joins {', '.join(there)} of {repository}, which are served: publish it under "
            "another --name, or serve it at once with recserve export"
        )
    check_release(repository, signatures, source)
    releases.hold(repository, there)
    return _add(repository, signatures, source, None, report)


def _add(
    repository: Path,
    signatures: Sequence[Signature],
    source: Source,
    version: int | None,
    report: Callable[[str], None],
) -> int:
    """Proves a release and reveals it."""
    check_release(repository, signatures, source)
    signatures = [kind_of(signature).settle(signature, report) for signature in signatures]
    with _only_publisher(repository):
        version = _next_version(repository, signatures, version)
        names = [signature.name for signature in signatures]
        new = {name for name in names if not (repository / name).exists()}
        with _staging(repository) as place:
            for number, signature in enumerate(signatures):
                report(f"{signature.name}: staging version {version}")
                folder = place / signature.name / str(version)
                folder.mkdir(parents=True)
                write_version(folder, signature, version, source, Release(whole_of(signatures), names))
                stored.tell(folder, signature.name, report)
                if signature.name in new:
                    signatures[number] = with_run_size(signature, folder, report)
            folders = [place / one.name / str(version) for one in signatures if one.tables is not None]
            stored.refuse_unstored(folders, whole_of(signatures))
            for signature in signatures:
                write_configs(place if signature.name in new else repository, [signature])
            parts = [name if name in new else f"{name}/{version}" for name in names]
            _reveal({repository / part: place / part for part in parts})
    report(f"published version {version} of {', '.join(names)}")
    return version


def publish_again(
    repository: Path, name: str, version: int, change: Callable[[Path], None], report: Callable[[str], None]
) -> int:
    """Publishes a release once more under the next number, with what `change` makes of the folder of the model that
    clients ask; what is served stays it. Returns the number.

    Raises ValueError where a file of the release is not the published one, and what `change` raises.
    """
    models = releases.models_of(repository, name, version)
    for model in models:
        manifest.verify(repository / model / str(version))
    releases.hold(repository, {name: releases.standing(repository, name).served})
    with _only_publisher(repository), _staging(repository) as place:
        new = max(number for model in models for number in versions(repository / model)) + 1
        for model in models:
            folder = place / model / str(new)
            shutil.copytree(repository / model / str(version), folder)
            if model == name:
                change(folder)
            facts = {key: said for key, said in manifest.read(folder).items() if key != "files"}
            created = datetime.now(UTC).isoformat(timespec="seconds")
            manifest.write(folder, {**facts, "version": new, "created": created})
        _reveal({repository / model / str(new): place / model / str(new) for model in models})
    report(f"published version {new} of {', '.join(models)}")
    return new


def add_model(repository: Path, name: str, write: Callable[[Path], None]) -> bool:
    """Adds a model with all that `write` puts into its folder, unless there is one of that name; whether it did.

    Raises ValueError while another publish is under way.
    """
    with _only_publisher(repository):
        if (repository / name).exists():
            return False
        with _staging(repository) as place:
            (place / name).mkdir()
            write(place / name)
            _reveal({repository / name: place / name})
    return True


def write_configs(repository: Path, signatures: Sequence[Signature]) -> list[Path]:
    """Writes the config files that differ from what the signatures say, each atomically; returns those. Where a version
    was chosen to be served, the choice stays, and what the configuration says that version was made of; so does the
    bound of a run, measured when the model was new."""
    written = []
    for signature in signatures:
        for name, target in CONFIG_FILES.items():
            path = repository / signature.name / name
            config = model_config(signature, target)
            if path.exists():
                _keep(read_config(path), config)
            if not path.exists() or path.read_text() != render(config):
                replace_text(path, render(config))
                written.append(path)
    return written


def _keep(now: Any, config: Any) -> None:
    """What a configuration that is there goes on to say."""
    if now.version_policy.HasField("specific"):
        config.version_policy.CopyFrom(now.version_policy)
        Identity.of(now).replace_in(config)
    if RUN_ELEMENTS in now.parameters:
        config.parameters[RUN_ELEMENTS].CopyFrom(now.parameters[RUN_ELEMENTS])


def whole_of(signatures: Sequence[Signature]) -> str:
    """Name of the model of a release that clients ask: the last that is no other form of one, where one is none."""
    own = [one.name for one in signatures if "form_of" not in kind_of(one).facts(one)]
    return own[-1] if own else signatures[-1].name


def check_release(repository: Path, signatures: Sequence[Signature], source: Source) -> None:
    """Raises ValueError when the models do not fit together, or do not fit what the repository serves."""
    names = [signature.name for signature in signatures]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a release needs one or more models with different names, found {names}")
    mapped = any(spec.ids is not None for signature in signatures for spec in (*signature.inputs, *signature.outputs))
    for signature in signatures:
        if published := versions(repository / signature.name):
            refuse_another(repository / signature.name, published[-1], signature, source, by_raw_ids=mapped)
    configs = {path.parent.name: read_config(path) for path in repository.glob("*/config.pbtxt")}
    configs |= {signature.name: model_config(signature, "gpu") for signature in signatures}
    for signature in signatures:
        if missing := [model for model in signature.needs if model not in configs]:
            raise ValueError(f"model '{signature.name}' asks {missing}, which are neither in the release nor published")
        problems = ensemble_problems(configs[signature.name], configs) if signature.steps else ()
        for problem in problems:
            raise ValueError(f"ensemble '{signature.name}', {problem.field}: {problem.reason}; {problem.remedy}")
        for fault in ensemble_faults(signature, {one.name: one for one in signatures}):
            raise ValueError(f"ensemble '{signature.name}': {fault}")


def _of_schema(signature: Signature, schema: Schema | None) -> Signature:
    """With that schema, where its origin has none."""
    if schema is None or signature.origin.schema is not None:
        return signature
    return replace(signature, origin=replace(signature.origin, schema=schema))


def _next_version(repository: Path, signatures: Sequence[Signature], wanted: int | None) -> int:
    existing = {version for signature in signatures for version in versions(repository / signature.name)}
    if wanted is None:
        return max(existing, default=0) + 1
    if wanted < 1 or wanted in existing:
        raise ValueError(f"version {wanted} cannot be published: versions are >= 1, and {sorted(existing)} exist")
    return wanted


@contextmanager
def _staging(repository: Path) -> Iterator[Path]:
    """An empty folder on the repository's file system; in the repository where that is a mount of its own, or where
    nothing may be written beside it. Raises ValueError where something stands in its way that cannot be removed."""
    place = staging.place(repository, "staging")
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir()
    except OSError as error:
        raise ValueError(f"{place}, where a release is staged, cannot be made: {error.strerror}; remove it") from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _reveal(staged: Mapping[Path, Path]) -> None:
    """Renames all staged folders into place; when one rename fails, takes the others back."""
    for folder in staged.values():
        for path in folder.rglob("*"):
            # safetensors lets only the owner read what it writes, and a server often runs as somebody else.
            path.chmod(0o755 if path.is_dir() else 0o644)
            sync(path)
        sync(folder)
    revealed: list[Path] = []
    try:
        for final, folder in staged.items():
            folder.rename(final)
            revealed.append(final)
            sync(final.parent)
    except OSError:
        for final in revealed:
            final.rename(staged[final])
        raise


@contextmanager
def _only_publisher(repository: Path) -> Iterator[None]:
    """Holds the repository's lock, which the kernel drops with the process."""
    repository.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(repository, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{repository}: another publish is under way; wait for it to finish") from error
        yield
    finally:
        os.close(descriptor)
