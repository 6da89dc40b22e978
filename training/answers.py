"""What a module's `forward` returned, as tensors in the order of a signature's outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

from torch import Tensor


class WrongAnswerError(ValueError):
    """A module returned what a signature's outputs cannot be taken from."""


def in_order(result: object, names: Sequence[str]) -> tuple[Tensor, ...]:
    """The outputs called `names` of a tensor, a sequence, or a mapping, dataclass or named tuple with such names.

    A sequence holds them in order, and may hold None beside them (a loss that was not asked for).
    Raises WrongAnswerError that says what was returned and what should be.
    """
    named = _by_name(result)
    if named is not None and set(names) <= named.keys():
        found = [named[name] for name in names]
    elif isinstance(result, Tensor):
        found = [result]
    elif isinstance(result, list | tuple):
        found = [part for part in result if part is not None]
    else:
        found = []
    if len(found) != len(names) or not all(isinstance(part, Tensor) for part in found):
        raise WrongAnswerError(
            f"forward returned {_described(result)}; return {_wanted(names)}, tensors in this order or by these names"
        )
    return tuple(part for part in found if isinstance(part, Tensor))


def _by_name(result: object) -> Mapping[str, object] | None:
    if isinstance(result, Mapping):
        return result
    if is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in fields(result)}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return dict(zip(result._fields, result, strict=True))  # pyright: ignore[reportAttributeAccessIssue]
    return None


def _wanted(names: Sequence[str]) -> str:
    return f"the {len(names)} output{'s' if len(names) > 1 else ''} {list(names)}"


def _described(part: object, depth: int = 0) -> str:
    """The form of a result: types and names down to two levels, no values."""
    if part is None:
        return "None"
    if isinstance(part, Tensor):
        return f"a {str(part.dtype).removeprefix('torch.')} tensor {list(part.shape)}"
    if (named := _by_name(part)) is not None:
        inside = ", ".join(f"{name}: {_described(value, depth + 1)}" for name, value in [*named.items()][:8])
        return f"{type(part).__name__}({inside})" if depth < 2 else f"a {type(part).__name__}"
    if isinstance(part, list | tuple):
        inside = ", ".join(_described(value, depth + 1) for value in part[:8])
        return f"a {type(part).__name__} of {len(part)} ({inside})" if depth < 2 else f"a {type(part).__name__}"
    return f"a {type(part).__module__}.{type(part).__name__}".replace("builtins.", "")
