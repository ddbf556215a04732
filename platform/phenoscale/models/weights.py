"""Weights on disk: safetensors only, and a readable answer when they belong to another architecture."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.storage import write_atomic

SHOWN_MISMATCHES = 3


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
    problems = mismatches(module.state_dict(), tensors)
    if problems:
        shown = "; ".join(problems[:SHOWN_MISMATCHES])
        more = f" and {len(problems) - SHOWN_MISMATCHES} more" if len(problems) > SHOWN_MISMATCHES else ""
        raise UserError(
            f"{source} holds weights of another architecture than {expected}: {shown}{more}; "
            "give the config that these weights were trained with, or the weights of this architecture"
        )
    with torch.no_grad():
        module.load_state_dict(dict(tensors))


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
