"""Show where an output came from, or what was made from it, as a tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from phenoscale.config import Runtime, require
from phenoscale.errors import UserError
from phenoscale.operations.addresses import MODEL
from phenoscale.operations.inspection.config import LineageConfig
from phenoscale.stages import LineageNode, find_output, walk_lineage

_SHOWN_DIGITS: Final = 12


@dataclasses.dataclass(frozen=True)
class LineageTree:
    """The outputs and raw data on the way up or down from an output, in the order of printing."""

    direction: str
    nodes: tuple[LineageNode, ...]

    def text(self) -> str:
        """Return the tree, one node a line: name of the input, stage and key, place, digest."""
        lines = [_describe(self.nodes[0])]
        for position in range(1, len(self.nodes)):
            lines.append(_branches(self.nodes, position) + _describe(self.nodes[position]))
        return "\n".join(lines)


def run_lineage(config: LineageConfig) -> LineageTree:
    """Walk the lineage of an output, or of the output that a registered encoder is.

    Raises:
        UserError: when the target is no output of a finished stage, or no registered encoder.
    """
    target = require(config, "target", verb="lineage")
    workspace = config.runtime.workspace
    place = _registered_output(target, config.runtime) if target.startswith(MODEL) else target
    nodes = walk_lineage(place, workspace, direction=config.direction)
    return LineageTree(direction=config.direction, nodes=tuple(nodes))


def _registered_output(address: str, runtime: Runtime) -> Path:
    """Return the stage output that a registered encoder was taken from."""
    from phenoscale.registry.fetch import find_version
    from phenoscale.registry.store import Registry

    version = find_version(address, registry=Registry(runtime))
    key = version.tags.get("stage_key", "")
    if not key:
        raise UserError(f"{address} does not say which stage made it; it was not registered by Phenoscale")
    return find_output(key, workspace=runtime.workspace)


def _describe(node: LineageNode) -> str:
    name = f"{node.name}: " if node.name else ""
    what = f"{node.stage} {node.key[:_SHOWN_DIGITS]}" if node.stage else "data"
    again = " (shown above)" if node.is_repeated else ""
    return f"{name}{what}  {node.uri}  digest {node.digest[:_SHOWN_DIGITS]}{again}"


def _branches(nodes: Sequence[LineageNode], position: int) -> str:
    """Return the lines that lead to a node: at each depth above it, whether a sibling is still to come."""
    depth = nodes[position].depth
    leads = [
        "│  " if _has_sibling_below(nodes, position, depth=above) else "   " for above in range(1, depth)
    ]
    return "".join(leads) + ("├─ " if _has_sibling_below(nodes, position, depth=depth) else "└─ ")


def _has_sibling_below(nodes: Sequence[LineageNode], position: int, *, depth: int) -> bool:
    for node in nodes[position + 1 :]:
        if node.depth <= depth:
            return node.depth == depth
    return False
