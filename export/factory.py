"""Bring your own model: signatures from a function that the command line names as `package.module:factory`."""

import importlib
import sys
from pathlib import Path

from export.eager import told
from training.servable import Signature


def load_factory(reference: str) -> tuple[Signature, ...]:
    """Calls the function that `reference` names, without arguments, and returns the signatures it returns.

    The working directory is importable, as under `python -m`. A module that the user's own misses passes through.
    Raises ValueError where there is no such function, where it returns something else, and with what it raises.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"'{reference}' is not a factory; write package.module:function, e.g. my_model:servables")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the user's module imports in vain is another mistake, and its own message names it.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"no module '{module_name}' in {here} or the environment; run from its folder") from error
    except Exception as error:
        raise ValueError(f"importing '{module_name}' raised {told(error)}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        found = "nothing" if factory is None else f"an object of type {type(factory).__name__}"
        raise ValueError(f"'{reference}' names {found}; it must name a function that returns a Servable")
    try:
        result = factory()
    except Exception as error:
        raise ValueError(f"{reference}() raised {told(error)}") from error
    signatures = (result,) if isinstance(result, Signature) else result
    if (
        not signatures
        or not isinstance(signatures, (list, tuple))
        or not all(isinstance(one, Signature) for one in signatures)
    ):
        raise ValueError(f"{reference}() returned {type(result).__name__}; return a Servable or a list of them")
    return tuple(signatures)
