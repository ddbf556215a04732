"""Content-addressed stages: a key from code, config and inputs; reuse, lease, lineage and failure record."""

from phenoscale.stages.commit import check_complete, output_digest
from phenoscale.stages.inputs import Input
from phenoscale.stages.lineage import LineageNode, find_output, read_lineage, walk_lineage
from phenoscale.stages.output import Output
from phenoscale.stages.plan import StagePlan, plan_stage
from phenoscale.stages.result import Observer, StageResult, ignore
from phenoscale.stages.run import complete_output, run_stage
from phenoscale.stages.workspace import Workspace, open_workspace

__all__ = [
    "Input",
    "LineageNode",
    "Observer",
    "Output",
    "StagePlan",
    "StageResult",
    "Workspace",
    "check_complete",
    "complete_output",
    "find_output",
    "ignore",
    "open_workspace",
    "output_digest",
    "plan_stage",
    "read_lineage",
    "run_stage",
    "walk_lineage",
]
