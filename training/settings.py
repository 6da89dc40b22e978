"""Numbers of a configuration with which nothing can be trained, whichever system it is of."""

import dataclasses
import math
from typing import Any, cast

_DIVISORS = frozenset({"temperature", "contrast_temperature"})
"""Fields that must be above 0."""
_OR_NONE = "or none"


def or_none(default: int) -> int:
    """The default of a whole number of a configuration that may be 0, which leaves its part out, as its help says."""
    return cast(int, dataclasses.field(default=default, metadata={_OR_NONE: True}))


def check_settings(config: Any) -> None:
    """Raises ValueError, naming the field, for a number that is negative or not finite, for a whole one of 0 unless it
    is so by default or `or_none`, and for a divisor of 0."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, int | float):
                continue
            least = _least(field, number)
            if not least <= number < math.inf:
                raise ValueError(f"{field.name} is {number}; it must be at least {least}")
            if field.name in _DIVISORS and number == 0:
                raise ValueError(f"{field.name} is {number}; it must be above 0")


def _least(field: "dataclasses.Field[Any]", number: float) -> int:
    """1 for a whole number that is none of those that may be 0."""
    whole = isinstance(number, int) and not isinstance(number, bool) and not isinstance(field.default, float)
    return int(whole and field.default != 0 and _OR_NONE not in field.metadata)
