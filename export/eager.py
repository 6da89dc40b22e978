"""The trusted side of every comparison: requests of a signature's `example`, and the module's own answers to them.

What the user's code raises is told in one line with its type, its message and the line of the user's file.
"""

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from export import client_ids
from export.signature import axis_sizes
from training import answers, servable
from training.answers import WrongAnswerError, in_order
from training.servable import Packed, Signature

_NOT_THE_USERS = (
    sysconfig.get_paths()["purelib"],
    sysconfig.get_paths()["stdlib"],
    str(Path(__file__).parent),
    *(str(module.__file__) for module in (answers, servable)),
    "<",
)
_LONGEST_MESSAGE = 300


def example(signature: Signature, batch_size: int, seed: int) -> Packed:
    """Inputs in order, for requests that nobody else holds; an id that a client has no name for is 0.

    Raises ValueError where `example` raises, or where its tensors do not fit the signature.
    """
    call = f"its example({batch_size}, {seed})"
    try:
        tensors = signature.example(batch_size, seed)
    except Exception as error:
        raise ValueError(f"model '{signature.name}': {call} raised {told(error)}") from error
    if not isinstance(tensors, list | tuple) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        found = type(tensors).__name__
        raise ValueError(
            f"model '{signature.name}': {call} returned a {found}; return a tuple of tensors, one per input"
        )
    axis_sizes(signature, signature.inputs, tuple(tensors))
    return _copies(client_ids.known(signature.inputs, tuple(tensors)))


def ask(signature: Signature, tensors: Packed) -> Packed:
    """The eager outputs in order; `tensors` stay as they are, whatever forward does to its inputs.

    Raises ValueError where forward raises, or where what it returns does not fit the signature.
    """
    outputs = _called(signature, signature.eager, tensors)
    known = axis_sizes(signature, signature.inputs, tensors)
    try:
        sizes = axis_sizes(signature, (*signature.inputs, *signature.outputs), (*tensors, *outputs))
    except ValueError as error:
        raise ValueError(f"{error}{_advice(signature, outputs)}") from error
    if surplus := sorted(sizes.keys() - known.keys()):
        raise ValueError(f"model '{signature.name}': no input has the axes {surplus} of its outputs; write their sizes")
    return outputs


def compute(signature: Signature, form: Callable[..., Packed], tensors: Packed) -> Packed:
    """The outputs of another form of the module, such as its reference in fp64, unchecked."""
    return _called(signature, form, tensors)


def told(error: BaseException) -> str:
    """Type, message and place of an error in the user's code, in one line."""
    message = " ".join(str(error).split())
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    return f"{type(error).__name__}{': ' if message else ''}{message}{place(error)}"


def _called(signature: Signature, form: Callable[..., Packed], tensors: Packed) -> Packed:
    names = [spec.name for spec in signature.outputs]
    try:
        # What torch.compile wrapped is computed as it was written: that is what gets exported.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            result = in_order(form(*_copies(tensors)), names)
    except WrongAnswerError as error:
        raise ValueError(f"model '{signature.name}': {error}") from error
    except Exception as error:
        shapes = ", ".join(f"{spec.name} {list(t.shape)}" for spec, t in zip(signature.inputs, tensors, strict=True))
        raise ValueError(f"model '{signature.name}': its forward raised {told(error)}, on inputs {shapes}") from error
    return tuple(tensor.detach() for tensor in result)


def _copies(tensors: Packed) -> Packed:
    return tuple(tensor.detach().clone() for tensor in tensors)


def place(error: BaseException) -> str:
    """The line of the user's file that an error came through last, in brackets; empty where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
    return f" ({users[-1].filename}:{users[-1].lineno}, in {users[-1].name})" if users else ""


def _advice(signature: Signature, outputs: Packed) -> str:
    """What to do about outputs that do not fit; nothing where only the message itself can say."""
    for spec, tensor in zip(signature.outputs, outputs, strict=True):
        if tensor.is_complex():
            return f"; tritonserver has no complex type: return '{spec.name}' as torch.view_as_real(...) or its abs()"
        if str(tensor.dtype) != f"torch.{spec.dtype}":
            return f"; return '{spec.name}' as .to(torch.{spec.dtype}), or declare its dtype"
        if not spec.ragged and spec.shape == (1,) and tensor.ndim == 1:
            return f"; declare shape=() for '{spec.name}', or return it as [batch, 1]: .unsqueeze(1)"
        if not spec.ragged and spec.shape == () and tensor.ndim == 2:
            return f"; declare shape=({tensor.shape[1]},) for '{spec.name}', or return it as [batch]: .squeeze(1)"
        if tensor.ndim == 0:
            return f"; '{spec.name}' is one number for the whole batch: return one row per request"
    return ""
