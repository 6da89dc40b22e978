"""Numbers of a configuration with which nothing can be trained, whichever system it is of."""

import math

_SIZES = frozenset({"dim", "hidden", "max_length", "epochs", "batch_size", "patience"})
"""Fields of all configurations that have them, of which there must be at least one."""


def check_settings(config: object) -> None:
    """Raises ValueError, naming the field, for a number that is negative or not finite, and for a size of 0."""
    for name, value in vars(config).items():
        least = 1 if name in _SIZES else 0
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not least <= number < math.inf:
                raise ValueError(f"{name} is {number}; it must be at least {least}")
