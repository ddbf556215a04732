"""The table of verbs: what each does, and where its config and function are, by name and not by import."""

from __future__ import annotations

import dataclasses
from typing import Final

from phenoscale.benchmarks.catalog import CATALOG
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.operations.stage_table import STAGES
from phenoscale.references import find


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        summary: what it does, in one line of the top-level help.
        config: "module:Class" of its config.
        function: "module:function" that takes the config and returns a value to show.
        is_stage: whether it is content-addressed: run through a tracking run, and planned by its key.
        plan: "module:function" that takes the config and returns what `--dry-run` shows, when it is no stage.
        value: "module:NAME" of a value that has `positional` and `examples`, where they are not here.
        positional: config fields that may be given without their flag, in order.
        examples: command lines that work, without the leading `phenoscale`.
        about: the text of its help, where that of the config is about another verb.
        keeps_addresses: whether it takes addresses of outputs and models as they are; for the others, what
            they name is fetched first.
    """

    summary: str
    config: str
    function: str
    is_stage: bool = False
    plan: str = ""
    value: str = ""
    positional: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    about: str = ""
    keeps_addresses: bool = False

    def loaded(self) -> Verb:
        """The verb with its positional fields and examples, imported where a value has them."""
        if not self.value:
            return self
        value = find(self.value)
        return dataclasses.replace(self, value="", positional=value.positional, examples=value.examples)


def _stage(name: str) -> Verb:
    stage = STAGES[name]
    return Verb(
        stage.summary, config=stage.config, function=stage.function, is_stage=True, examples=stage.examples
    )


def _pipeline_verbs() -> dict[str, Verb]:
    """`run NAME` and `plan NAME` of every pipeline."""
    run, plan = (
        "phenoscale.operations.running.run:run_pipeline",
        "phenoscale.operations.planning.plan:plan_pipeline",
    )
    verbs = {}
    for name in PIPELINES:
        pipeline = find_pipeline(name)
        config = f"phenoscale.operations.pipelines.config:{name}"
        examples = tuple(f"run {example}" for example in pipeline.examples)
        verbs[f"run {name}"] = Verb(
            pipeline.summary,
            config=config,
            function=run,
            plan=plan,
            examples=examples,
            keeps_addresses=True,
        )
        verbs[f"plan {name}"] = Verb(
            f"say what `run {name}` would compute and what it would reuse",
            config=config,
            function=plan,
            plan=plan,
            about=f"Say what `run {name}` would do with the same config: which steps are reused.\n\nNothing "
            "is computed or written. A step's key is known as soon as the outputs that it reads are there.",
            examples=tuple(example.replace("run", "plan", 1) for example in examples),
            keeps_addresses=True,
        )
    return verbs


_BENCHMARKS: Final = {
    f"benchmark {name}": Verb(
        line.measures, config=f"{line.value}.config", function=f"{line.value}.run", value=line.value
    )
    for name, line in CATALOG.items()
}

_AFTER_BENCHMARKS: Final = ("register", "promote", "report")
VERBS: Final[dict[str, Verb]] = {
    **{name: _stage(name) for name in STAGES if name not in _AFTER_BENCHMARKS},
    **_BENCHMARKS,
    "register": _stage("register"),
    "promote": _stage("promote"),
    "rollback": Verb(
        "give the champion's place back to the version before",
        config="phenoscale.registry.config:RollbackConfig",
        function="phenoscale.registry.stage:run_rollback",
        examples=("rollback --reason 'recall fell on the new screen'",),
    ),
    "report": _stage("report"),
    **_pipeline_verbs(),
    "plan training": Verb(
        "say what a training takes on GPUs of a kind: memory, FLOPs, GPU-hours, cost",
        config="phenoscale.operations.planning.config:PlanTrainingConfig",
        function="phenoscale.operations.planning.training_plan:plan_training",
        plan="phenoscale.operations.planning.training_plan:plan_training",
        examples=(
            "plan training --model.size L/8 --global-batch 16384 --num-crops 3.5e9 --gpus 128",
            "plan training --manifest work/curate/KEY --calibration train.json --price-per-gpu-hour 2.5",
        ),
    ),
    "compile": Verb(
        "compile the pipelines to YAML, from a checkout",
        config="phenoscale.operations.pipelines.compile_config:CompileConfig",
        function="phenoscale.operations.pipelines.compile:run_compile",
        positional=("pipeline",),
        examples=("compile", "compile full"),
    ),
    "lineage": Verb(
        "show where an output came from, or what was made from it",
        config="phenoscale.operations.inspection.config:LineageConfig",
        function="phenoscale.operations.inspection.lineage:run_lineage",
        keeps_addresses=True,
        positional=("target",),
        examples=(
            "lineage work/map/KEY",
            "lineage work/ingest/KEY --direction downstream",
            "lineage models:/phenoscale-encoder@champion --workspace work",
        ),
    ),
    "gc": Verb(
        "remove what no run, report or registered model reaches",
        config="phenoscale.operations.inspection.config:GcConfig",
        function="phenoscale.operations.inspection.gc:run_gc",
        examples=("gc --workspace work", "gc --workspace s3://bucket/work --keep_runs 3 --delete"),
    ),
    "doctor": Verb(
        "check whether this machine is ready, each check with its fix",
        config="phenoscale.operations.inspection.config:DoctorConfig",
        function="phenoscale.operations.inspection.doctor:run_doctor",
        examples=("doctor", "doctor --store s3://bucket/screen"),
    ),
}
