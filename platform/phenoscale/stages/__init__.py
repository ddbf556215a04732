"""Content-addressed stages: a key from code, config and inputs; reuse, lease, lineage and failure record."""

from phenoscale.stages.commit import check_complete, discard, lineage_of, output_digest
from phenoscale.stages.fetch import fetch_output, locate
from phenoscale.stages.inputs import Input
from phenoscale.stages.lineage import LineageNode, find_output, output_folder, read_lineage, walk_lineage
from phenoscale.stages.output import Output, OutputAddress
from phenoscale.stages.plan import StagePlan, plan_stage
from phenoscale.stages.result import Observer, StageResult, ignore
from phenoscale.stages.run import complete_output, open_output, run_share, run_stage
from phenoscale.stages.workspace import Workspace, open_workspace

__all__ = [
    "Input",
    "LineageNode",
    "Observer",
    "Output",
    "OutputAddress",
    "StagePlan",
    "StageResult",
    "Workspace",
    "check_complete",
    "complete_output",
    "discard",
    "fetch_output",
    "find_output",
    "ignore",
    "lineage_of",
    "locate",
    "open_output",
    "open_workspace",
    "output_digest",
    "output_folder",
    "plan_stage",
    "read_lineage",
    "run_share",
    "run_stage",
    "walk_lineage",
]
