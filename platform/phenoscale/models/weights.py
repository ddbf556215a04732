"""Weights on disk: our own as safetensors only, others' without running what a pickle may hold; mismatches.

Files of others come as safetensors or as `torch.save` wrote them, whatever they are called: released weights
have been published as `model.safetensors` that torch.save had written (science.md 11.3). So content decides,
not the name, and a torch file is read with `weights_only`: tensors and plain containers, no code.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.files import write_atomic

SHOWN_MISMATCHES = 3
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how torch.save's files begin: today's, and those before torch 1.6
_UNSAFE = re.compile(r"GLOBAL ([\w.]+)")  # what torch says it would not import
_WRAPPERS = ("state_dict", "model")  # where checkpoints keep the weights among other things


def write_weights(file: Path, module: nn.Module) -> None:
    """Write a module's parameters as safetensors, atomically; the same weights give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_atomic(file, save(tensors, metadata={"format": "pt"}))


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file onto the CPU.

    Raises:
        UserError: no such file, or not a whole safetensors file (a pickle, say).
    """
    try:
        return load(file.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{file} does not exist; copy the whole encoder folder, weights included") from error
    except SafetensorError as error:
        raise UserError(
            f"{file} is not a whole safetensors file ({error}); weights are read from safetensors only, "
            "never from a pickle: copy the file again or export it with safetensors"
        ) from error


def read_released_weights(file: Path) -> dict[str, Tensor]:
    """Read all tensors of a file that others published onto the CPU, by its content, whatever its name.

    Raises:
        UserError: no such file, another format, a pickle with more in it than tensors, or no tensors.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise UserError(f"weights {file} cannot be read ({error}); check the path") from error
    if start[8:9] == b"{":
        return read_weights(file)
    if not start.startswith((_ZIP, _PICKLE)):
        raise UserError(
            f"weights {file} are neither a safetensors nor a torch file: they begin with {start[:8]!r}; a "
            "few lines of text are the pointer of a large file that was not fetched"
        )
    return _state_dict(_load_without_code(file), file=file)


def _load_without_code(file: Path) -> Any:
    try:
        # opened here: torch would choose a reader by the name of a path
        with file.open("rb") as opened, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # read, or refused below
            return torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _UNSAFE.search(str(error))
        raise UserError(
            f"weights {file} hold more than tensors{f' ({named.group(1)})' if named else ''}, and loading "
            "them would run code of whoever wrote them; they were refused and nothing was run. Ask for "
            "safetensors, or save the state_dict alone where you trust the file"
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise UserError(
            f"weights {file} are not a whole torch file ({error or type(error).__name__}); copy it again"
        ) from error


def _state_dict(loaded: Any, *, file: Path) -> dict[str, Tensor]:
    wrapper = next(
        (name for name in _WRAPPERS if _is_mapping(loaded) and _is_mapping(loaded.get(name))), None
    )
    found = loaded if wrapper is None else loaded[wrapper]
    if not _is_mapping(found) or not found:
        raise UserError(
            f"weights {file} hold a {type(found).__name__} and not named tensors; give a state_dict"
        )
    others = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if others:
        raise UserError(
            f"weights {file} hold values that are no tensors: {', '.join(others[:SHOWN_MISMATCHES])}; "
            f"give a state_dict, alone or under one of {', '.join(_WRAPPERS)}"
        )
    return {str(name): value.detach() for name, value in found.items()}


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str, expected: str) -> None:
    """Copy tensors into a module, all of them or none.

    Args:
        module: receives the weights.
        tensors: names and values, as in the module's `state_dict`.
        source: where the tensors come from, for the error message.
        expected: the architecture in words, for the error message.

    Raises:
        UserError: a name or shape differs; names the first ones with both shapes.
    """
    check_weights(module.state_dict(), tensors, source=source, expected=expected)
    with torch.no_grad():
        module.load_state_dict(dict(tensors))


def check_weights(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], *, source: str, expected: str
) -> None:
    """Raise the UserError of `load_weights` if a name or shape differs."""
    problems = mismatches(wanted, found)
    if problems:
        shown = "; ".join(problems[:SHOWN_MISMATCHES])
        more = f" and {len(problems) - SHOWN_MISMATCHES} more" if len(problems) > SHOWN_MISMATCHES else ""
        raise UserError(
            f"{source} holds weights of another architecture than {expected}: {shown}{more}; "
            "give the config that these weights were trained with, or the weights of this architecture"
        )


def mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Every difference between two sets of named tensors in words: shapes, then missing, then unexpected."""
    shapes = [
        f"{name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    missing = [
        f"{name} {list(tensor.shape)} is missing" for name, tensor in expected.items() if name not in found
    ]
    extra = [
        f"{name} {list(tensor.shape)} is unexpected" for name, tensor in found.items() if name not in expected
    ]
    return shapes + missing + extra
