"""A release under another name, with everything in it that refers to one of its models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from export.repository import versions
from training.servable import Signature


def renamed(signatures: Sequence[Signature], names: Mapping[str, str]) -> tuple[Signature, ...]:
    """The models with `names` (old -> new); one that is not in them keeps its name, also where it is referred to."""

    return tuple(signature.renamed(lambda name: names.get(name, name)) for signature in signatures)


def under_name(signatures: Sequence[Signature], name: str) -> tuple[Signature, ...]:
    """The release as `name`, its last model, which is the one that a client asks for; the others as `name`_<part>.

    S and S_<part> become NAME and NAME_<part>; a part that is not called after S keeps its name behind the new one.
    """
    *parts, whole = signatures
    names = {part.name: f"{name}_{part.name.removeprefix(f'{whole.name}_')}" for part in parts}
    return renamed(signatures, names | {whole.name: name})


def refuse_taken_parts(repository: Path, signatures: Sequence[Signature]) -> None:
    """Raises ValueError where a release whose last model is new there would add versions to models of another one."""
    *parts, whole = (signature.name for signature in signatures)
    taken = [name for name in parts if versions(repository / name)]
    if taken and not versions(repository / whole):
        raise ValueError(
            f"--name {whole}: {', '.join(taken)} of {repository} belong to another release; choose another name"
        )
