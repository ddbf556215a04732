"""The table of verbs: what each does, and where its config and function are, by name and not by import."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, Final

from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.operations.stage_table import STAGES


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        summary: what it does, in one line of the top-level help.
        config: "module:Class" of its config.
        function: "module:function" that takes the config and returns a value to show.
        is_stage: whether it is content-addressed: run through a tracking run, and planned by its key.
        plan: "module:function" that takes the config and returns what `--dry-run` shows, when it is no stage.
        positional: config fields that may be given without their flag, in order.
        examples: command lines that work, without the leading `phenoscale`.
        about: the text of its help, where that of the config is about another verb.
    """

    summary: str
    config: str
    function: str
    is_stage: bool = False
    plan: str = ""
    positional: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    about: str = ""


def _stage(name: str, *, examples: tuple[str, ...]) -> Verb:
    stage = STAGES[name]
    return Verb(stage.summary, config=stage.config, function=stage.function, is_stage=True, examples=examples)


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
            pipeline.summary, config=config, function=run, plan=plan, examples=examples
        )
        verbs[f"plan {name}"] = Verb(
            f"say what `run {name}` would compute and what it would reuse",
            config=config,
            function=plan,
            plan=plan,
            about=f"Say what `run {name}` would do with the same config: which steps are reused.\n\nNothing "
            "is computed or written. A step's key is known as soon as the outputs that it reads are there.",
            examples=tuple(example.replace("run", "plan", 1) for example in examples),
        )
    return verbs


VERBS: Final[dict[str, Verb]] = {
    "simulate": _stage(
        "simulate",
        examples=("simulate --workspace work", "simulate --null --seed 3"),
    ),
    "ingest": _stage(
        "ingest",
        examples=("ingest --source table --path plates/fields.csv",),
    ),
    "curate": _stage(
        "curate",
        examples=("curate --stores work/ingest/KEY",),
    ),
    "pretrain": _stage(
        "pretrain",
        examples=("pretrain --manifest work/curate/KEY", "pretrain --manifest work/curate/KEY --dry-run"),
    ),
    "import": _stage(
        "import",
        examples=(
            "import --source openphenom --weights model.safetensors --channels DNA,ER,RNA,AGP,Mito",
            "import --source timm --preset mae_l16_in1k --weights mae.safetensors --channels DNA,ER,RNA",
            "import --source pixel_statistics --like work/pretrain/KEY/encoder",
        ),
    ),
    "probe": _stage(
        "probe",
        examples=("probe --encoder work/pretrain/KEY/encoder --manifest work/curate/KEY",),
    ),
    "embed": _stage(
        "embed",
        examples=("embed --encoder work/probe/KEY/encoder --manifest work/curate/KEY",),
    ),
    "map": _stage(
        "map",
        examples=("map --embeddings work/embed/KEY",),
    ),
    "benchmark": _stage(
        "benchmark",
        examples=("benchmark --maps trained=work/map/KEY --annotations pairs.csv",),
    ),
    "benchmark recall": Verb(
        "recall of known relationships in a map",
        config="phenoscale.benchmarks.config:RecallConfig",
        function="phenoscale.benchmarks.stage:run_recall",
        examples=(
            "benchmark recall --map work/map/KEY --annotations pairs.csv",
            "benchmark recall --map MAP.parquet --annotations CORUM.csv --annotations HuMAP.csv "
            "--lower 0.05 --upper 0.95 --by-number-of-sources --json",
        ),
    ),
    "benchmark recall-null": Verb(
        "permutation test of recall, over all annotated genes or inside chromosome arms",
        config="phenoscale.benchmarks.relations.recall_null_config:RecallNullConfig",
        function="phenoscale.benchmarks.relations.recall_null:run_recall_null",
        examples=("benchmark recall-null --map work/map/KEY --annotations pairs.csv",),
    ),
    "benchmark annotations": Verb(
        "import known relationships from an official file, with checksum, license and counts",
        config="phenoscale.benchmarks.relations.annotation_config:AnnotationsConfig",
        function="phenoscale.benchmarks.relations.annotation_import:run_annotations",
        examples=(
            "benchmark annotations --source corum --path humanComplexes.txt --output CORUM.csv",
            "benchmark annotations --source string --path 9606.protein.links.v11.5.txt.gz "
            "--names 9606.protein.info.v11.5.txt.gz --output StringDB.csv",
        ),
    ),
    "benchmark consistency": Verb(
        "replicate consistency of perturbations",
        config="phenoscale.benchmarks.config:ConsistencyConfig",
        function="phenoscale.benchmarks.stage:run_consistency",
        examples=("benchmark consistency --embeddings work/embed/KEY --across experiment",),
    ),
    "benchmark moa": Verb(
        "nearest-neighbor accuracy of mechanisms of action, never against the same compound",
        config="phenoscale.benchmarks.config:MoaConfig",
        function="phenoscale.benchmarks.stage:run_moa",
        examples=("benchmark moa --embeddings work/embed/KEY",),
    ),
    "benchmark batch-effect": Verb(
        "how well plate, experiment, position and chromosome arm can be predicted",
        config="phenoscale.benchmarks.config:BatchEffectConfig",
        function="phenoscale.benchmarks.stage:run_batch_effect",
        examples=("benchmark batch-effect --embeddings work/embed/KEY --targets plate,experiment",),
    ),
    "benchmark suite": Verb(
        "every benchmark that the inputs allow, in one pass, and what was skipped and why",
        config="phenoscale.benchmarks.suite.suite_config:SuiteConfig",
        function="phenoscale.benchmarks.suite.suite:run_suite",
        examples=(
            "benchmark suite --map work/map/KEY --annotations CORUM.csv --genes genes.csv --output rows",
            "benchmark suite --map work/map/KEY --embeddings work/embed/KEY --json",
        ),
    ),
    "benchmark list": Verb(
        "every benchmark: what it measures, needs and costs, and who defined it",
        config="phenoscale.benchmarks.suite.suite_config:ListConfig",
        function="phenoscale.benchmarks.suite.catalog:run_list",
        positional=("names",),
        examples=("benchmark list", "benchmark list recall"),
    ),
    "benchmark table": Verb(
        "own rows beside published numbers, marked where the setting differs",
        config="phenoscale.benchmarks.suite.suite_config:TableConfig",
        function="phenoscale.benchmarks.published.table:run_table",
        examples=(
            "benchmark table --rows work/benchmark/KEY --facts dataset=RxRx3-core",
            "benchmark table --benchmarks recall --sources CORUM",
        ),
    ),
    "benchmark proximity": Verb(
        "proximity bias: whether genes of one chromosome arm are more similar than others",
        config="phenoscale.benchmarks.relations.proximity_config:ProximityConfig",
        function="phenoscale.benchmarks.relations.proximity:run_proximity",
        examples=("benchmark proximity --map work/map/KEY --genes genes.csv",),
    ),
    "benchmark jump-detection": Verb(
        "JUMP-CP perturbation detection: replicates against negative controls of the plate",
        config="phenoscale.benchmarks.profiles.jump_config:JumpDetectionConfig",
        function="phenoscale.benchmarks.profiles.jump:run_detection",
        examples=("benchmark jump-detection --profiles 'plates/*.csv.gz' --p-values geometric-mean",),
    ),
    "benchmark jump-siblings": Verb(
        "JUMP-CP sibling retrieval: compounds of a target, or guides of a gene",
        config="phenoscale.benchmarks.profiles.jump_config:JumpSiblingsConfig",
        function="phenoscale.benchmarks.profiles.jump:run_siblings",
        examples=(
            "benchmark jump-siblings --profiles 'plates/*.csv.gz' --targets compounds.tsv --ties gt",
            "benchmark jump-siblings --profiles 'crispr/*.parquet' --siblings guides",
        ),
    ),
    "benchmark jump-matching": Verb(
        "JUMP-CP gene-compound matching: does a compound look like a perturbation of its target?",
        config="phenoscale.benchmarks.profiles.jump_config:JumpMatchingConfig",
        function="phenoscale.benchmarks.profiles.jump:run_matching",
        examples=("benchmark jump-matching --compounds 'compound/*.csv.gz' --genes 'crispr/*.csv.gz'",),
    ),
    "benchmark phenotypic-activity": Verb(
        "replicates against negative controls, for any table and any columns",
        config="phenoscale.benchmarks.profiles.jump_config:ActivityConfig",
        function="phenoscale.benchmarks.profiles.phenotypic:run_activity",
        examples=("benchmark phenotypic-activity --profiles work/embed/KEY --negative-same plate",),
    ),
    "benchmark phenotypic-consistency": Verb(
        "perturbations with a common label against the others, for any table and any columns",
        config="phenoscale.benchmarks.profiles.jump_config:PhenotypicConsistencyConfig",
        function="phenoscale.benchmarks.profiles.phenotypic:run_phenotypic_consistency",
        examples=("benchmark phenotypic-consistency --profiles work/embed/KEY --label moa",),
    ),
    "benchmark percent-replicating": Verb(
        "groups whose median correlation exceeds that of random groups",
        config="phenoscale.benchmarks.profiles.jump_config:PercentReplicatingConfig",
        function="phenoscale.benchmarks.profiles.phenotypic:run_percent_replicating",
        examples=(
            "benchmark percent-replicating --profiles work/embed/KEY",
            "benchmark percent-replicating --profiles work/embed/KEY --group-by moa --different perturbation",
        ),
    ),
    "benchmark signal-consistency": Verb(
        "which perturbations have wells that are more alike than random ones",
        config="phenoscale.benchmarks.wells.signal_config:SignalConsistencyConfig",
        function="phenoscale.benchmarks.wells.signal:run_signal_consistency",
        examples=(
            "benchmark signal-consistency --embeddings work/map/KEY/corrected --output perturbations.parquet",
            "benchmark signal-consistency --embeddings work/embed/KEY --match experiment",
        ),
    ),
    "benchmark signal-magnitude": Verb(
        "how far perturbations are from the negative controls: energy distance",
        config="phenoscale.benchmarks.wells.signal_config:SignalMagnitudeConfig",
        function="phenoscale.benchmarks.wells.magnitude:run_signal_magnitude",
        examples=("benchmark signal-magnitude --embeddings work/embed/KEY",),
    ),
    "benchmark clusters": Verb(
        "which complexes have genes that are more alike than the rest of the map",
        config="phenoscale.benchmarks.gene_sets.clusters_config:ClustersConfig",
        function="phenoscale.benchmarks.gene_sets.clusters:run_clusters",
        examples=("benchmark clusters --map work/map/KEY --clusters CORUM_clusters.tsv",),
    ),
    "benchmark enrichment": Verb(
        "which gene sets hold more of the query genes than chance",
        config="phenoscale.benchmarks.gene_sets.clusters_config:EnrichmentConfig",
        function="phenoscale.benchmarks.gene_sets.enrichment:run_enrichment",
        examples=("benchmark enrichment --map work/map/KEY --clusters c5.gmt --query TSC1,TSC2,MTOR",),
    ),
    "benchmark neighbors": Verb(
        "the perturbations of a map that are most like one of them",
        config="phenoscale.benchmarks.gene_sets.clusters_config:NeighborsConfig",
        function="phenoscale.benchmarks.gene_sets.neighbors:run_neighbors",
        examples=("benchmark neighbors --map work/map/KEY --perturbation TSC2 --top 10",),
    ),
    "benchmark compound-gene": Verb(
        "whether compounds look like the knock-outs of the genes that they act on",
        config="phenoscale.benchmarks.relations.relations_config:CompoundGeneConfig",
        function="phenoscale.benchmarks.relations.compound_gene:run_compound_gene",
        examples=("benchmark compound-gene --map work/map/KEY --truth compound_gene_interactions.csv",),
    ),
    "benchmark string-recall": Verb(
        "recall of StringDB links in a list of genes at a false positive rate",
        config="phenoscale.benchmarks.relations.relations_config:StringRecallConfig",
        function="phenoscale.benchmarks.relations.string_fpr:run_string_recall",
        examples=(
            "benchmark string-recall --map work/map/KEY --genes genes.txt "
            "--links 9606.protein.links.v11.5.txt.gz --proteins 9606.protein.info.v11.5.txt.gz",
            "benchmark string-recall --map work/map/KEY --links scored_pairs.csv",
        ),
    ),
    "benchmark feature-regression": Verb(
        "how well CellProfiler features are predicted from embeddings of another experiment",
        config="phenoscale.benchmarks.wells.wells_config:FeatureRegressionConfig",
        function="phenoscale.benchmarks.wells.feature_regression:run_feature_regression",
        examples=(
            "benchmark feature-regression --embeddings work/embed/KEY --profiles 'profiles/*.csv.gz' "
            "--train-experiment gene-001 --test-experiment gene-002",
        ),
    ),
    "benchmark rxrx1": Verb(
        "which siRNA a well of RxRx1 got, before and after batch correction",
        config="phenoscale.benchmarks.wells.wells_config:Rxrx1Config",
        function="phenoscale.benchmarks.wells.rxrx1:run_rxrx1",
        examples=("benchmark rxrx1 --embeddings work/embed/KEY --metadata metadata.csv --num-classes 1139",),
    ),
    "register": _stage(
        "register",
        examples=("register --encoder work/probe/KEY/encoder --benchmark work/benchmark/KEY",),
    ),
    "promote": _stage(
        "promote",
        examples=("promote --candidate work/register/KEY",),
    ),
    "rollback": Verb(
        "give the champion's place back to the version before",
        config="phenoscale.registry.config:RollbackConfig",
        function="phenoscale.registry.stage:run_rollback",
        examples=("rollback --reason 'recall fell on the new screen'",),
    ),
    "report": _stage(
        "report",
        examples=("report --maps trained=work/map/KEY --benchmark work/benchmark/KEY",),
    ),
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
        positional=("target",),
        examples=(
            "lineage work/map/KEY",
            "lineage work/ingest/KEY --direction downstream",
            "lineage models:/phenoscale-encoder@champion --workspace work",
        ),
    ),
    "doctor": Verb(
        "check whether this machine is ready, each check with its fix",
        config="phenoscale.operations.inspection.config:DoctorConfig",
        function="phenoscale.operations.inspection.doctor:run_doctor",
        examples=("doctor", "doctor --store s3://bucket/screen"),
    ),
}


def find(reference: str) -> Any:
    """Import what "module:name" refers to."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
