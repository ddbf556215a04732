"""Retrieval benchmarks of profile tables: JUMP-CP detection, siblings and matching, and the general forms."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import model_validator

from phenoscale.benchmarks.benchmark import Benchmark, Input, Part
from phenoscale.benchmarks.inputs import ANY_TABLE, PLATES
from phenoscale.benchmarks.settings import RESAMPLES, SEED
from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError
from phenoscale.schema.keys import PLATE_KEY

PValues = Literal["geometric-mean", "per-perturbation"]
Ties = Literal["ge", "gt"]
NullRows = Literal["shared", "independent"]
NullKind = Literal["sampled", "exact"]

_HERE: Final = "phenoscale.benchmarks.profiles"
_JUMP: Final = "Chandrasekaran et al., Nature Methods 2024"
_PROFILES: Final = (
    "glob of profile tables, one file a plate (csv, csv.gz, tsv, parquet: Metadata_* columns and features), "
    "or an embedding table"
)


class Significance(Config):
    """How average precisions become p-values, and these a decision."""

    p_values: PValues = setting(
        "geometric-mean",
        help="geometric-mean: of the p-values of a group's queries, as published; per-perturbation: mean "
        "average precision against means of null values",
    )
    ties: Ties = setting("ge", help="null values that count: at least as large (ge) or strictly larger (gt)")
    null_rows: NullRows = setting(
        "shared",
        help="with per-perturbation: equal queries take the same null draw (mostly conservative) "
        "or independent ones (anti-conservative: replicates vary together)",
    )
    null: NullKind = setting(
        "sampled", help="exact: list all rankings of a query where there are at most null_size"
    )
    null_size: int = setting(100_000, ge=100, help="random rankings behind each p-value")
    false_discovery_rate: float = setting(0.05, gt=0, lt=1, help="q below which a group is retrieved")
    num_resamples: int = setting(1000, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)


class JumpColumns(Config):
    """Columns of the profile tables."""

    perturbation: str = setting("Metadata_broad_sample", help="names the perturbation (compound, guide)")
    plate: str = setting("Metadata_Plate", help="names the plate")
    control: str = setting("Metadata_control_type", help="says which wells are controls")
    negative_control: str = setting("negcon", help="value of the control column in negative controls")
    gene: str = setting("Metadata_gene", help="gene of a guide")
    targets: str = setting("Metadata_target_list", help="targets of a compound, separated by |")


class JumpConfig(Significance):
    """What the JUMP-CP benchmarks share."""

    columns: JumpColumns = JumpColumns()
    dataset: str = setting(
        "",
        help="of the plates, such as CPJUMP1: the rows' source, whose published numbers `table` shows",
    )
    cell_type: str = setting("", help="of the plates, such as U2OS, for the same")
    perturbation_type: str = setting("", help="of the plates: compound, crispr or orf, for the same")
    timepoint_h: str = setting("", help="of the plates in hours, for the same")
    runtime: Runtime = Runtime()


class JumpDetectionConfig(JumpConfig):
    """JUMP-CP perturbation detection: are replicates nearer to each other than to negative controls?

    Every well that is no negative control ranks the other wells of its perturbation, on any plate, against
    the negative controls of its own plate by cosine. The row `fraction_retrieved` is the share of
    perturbations with q < .05; `mean_average_precision` the mean over perturbations of the mean over wells.
    At equal cosines positives stand before negatives, as published. Give the plates of one cell type,
    modality and time point.
    """

    profiles: str = location("", help=_PROFILES)


class JumpSiblingsConfig(JumpConfig):
    """JUMP-CP sibling retrieval: are compounds of a target, or guides of a gene, alike?

    Perturbations that are detected (geometric mean, ge, same null size and rate) become one median profile
    each. A compound ranks, for each of its targets, the compounds that share it against those that share
    none of its targets, by |cosine|; a guide ranks the guides of its gene against all others by cosine. The
    row `fraction_retrieved` is the share of targets or genes with q < .05. --ties concerns this step only:
    it is about p-values; at equal similarity positives stand before negatives, as published. `n` counts the
    targets (genes) that have two detected perturbations and are tested, `excluded` the others of the detected
    ones.
    """

    profiles: str = location("", help=_PROFILES)
    targets: str = location(
        "", help="table with broad_sample and target_list; default: the profiles' column, or such a table "
        "beside them"
    )  # fmt: skip
    siblings: Literal["compounds", "guides"] = setting(
        "compounds", help="compounds: shared targets, |cosine|; guides: the same gene, cosine"
    )


class JumpMatchingConfig(JumpConfig):
    """JUMP-CP gene-compound matching: does a compound look like a perturbation of its target?

    Detected compounds and guides become one median profile each, guides one per guide. Each ranks, for each
    of its targets, profiles of the other modality with that target against profiles of the other modality
    that share no target, by |cosine|; at equal similarity positives stand first, as published.
    `fraction_retrieved` is the share of targets with q < .05; `excluded` counts those that only one modality
    has.
    """

    compounds: str = location("", help=f"compound plates: {_PROFILES}")
    genes: str = location("", help="CRISPR or ORF plates, in the same form")
    targets: str = location("", help="as in jump-siblings")


class ActivityConfig(Significance):
    """Phenotypic activity of any table: replicates of a perturbation against negative controls.

    Positives agree in all of `positive_same` and differ in all of `positive_different`; negatives are
    negative controls that agree in all of `negative_same` and differ in all of `negative_different`. At equal
    similarity positives stand before negatives, as published.
    """

    profiles: str = location("", help=_PROFILES)
    group_by: str = setting("perturbation", help="column of the groups that are judged")
    control: str = setting("is_negative_control", help="column that says which rows are negative controls")
    negative_control: str = setting("true", help="its value in negative controls, in any case")
    positive_same: tuple[str, ...] = setting((), help="columns that positives share; default: group_by")
    positive_different: tuple[str, ...] = setting((), help="columns in which positives differ")
    negative_same: tuple[str, ...] = setting(
        PLATE_KEY[1:], help="columns that negatives share with the query"
    )
    negative_different: tuple[str, ...] = setting((), help="columns in which negatives differ")
    similarity: Literal["cosine", "absolute-cosine"] = setting(
        "cosine", help="similarity by which rows are ranked"
    )
    runtime: Runtime = Runtime()


class PhenotypicConsistencyConfig(Significance):
    """Phenotypic consistency of any table: perturbations with a common label against the others.

    Rows of a perturbation become one median profile, unless `perturbation` is empty. A profile ranks, for
    each of its labels, other profiles with that label against those that share none of its labels. At equal
    similarity positives stand before negatives, as published.
    """

    profiles: str = location("", help=_PROFILES)
    label: str = setting("gene", help="column of the label: gene, target, moa; several separated by |")
    perturbation: str = setting("perturbation", help="rows with the same name become one median profile")
    control: str = setting(
        "is_negative_control", help="rows that are controls are left out, where it is there"
    )
    negative_control: str = setting("true", help="its value in negative controls, in any case")
    positive_different: tuple[str, ...] = setting((), help="columns in which positives differ")
    negative_different: tuple[str, ...] = setting((), help="columns in which negatives differ")
    similarity: Literal["cosine", "absolute-cosine"] = setting(
        "cosine", help="similarity by which rows are ranked"
    )
    runtime: Runtime = Runtime()


class PercentReplicatingConfig(Config):
    """Percent replicating: groups whose median correlation exceeds the 95th percentile of random groups.

    Pearson correlations between the rows of a group; the null are as many rows of different groups. Percent
    matching: group_by the gene or mechanism, and `different` the perturbation, whose rows become one median
    profile first.
    """

    profiles: str = location("", help=_PROFILES)
    group_by: str = setting("perturbation", help="column of the groups")
    different: str = setting("", help="rows that agree in this column become one median profile first")
    control: str = setting(
        "is_negative_control", help="rows that are controls are left out, where it is there"
    )
    negative_control: str = setting("true", help="its value in negative controls, in any case")
    percentile: float = setting(95.0, gt=0, lt=100, help="of the null")
    null_size: int = setting(10_000, ge=1000, help="random groups behind each threshold")
    num_resamples: int = setting(1000, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _two_columns(self) -> PercentReplicatingConfig:
        if self.different == self.group_by:
            raise UserError(
                f"group_by and different are both {self.group_by!r}, but rows of a group do not differ in "
                "the column that groups them; choose another column for different"
            )
        return self


JUMP_DETECTION: Final = Benchmark(
    name="jump-detection",
    config=JumpDetectionConfig,
    parts=(Part(needs=(PLATES,), rows=f"{_HERE}.jump:detection_rows"),),
    cost="wells^2 D; 100,000 random rankings per configuration",
    source=f"{_JUMP}; Kraus et al., CVPR 2024; copairs 0.5.5",
    examples=("benchmark jump-detection --profiles 'plates/*.csv.gz' --p-values geometric-mean",),
    in_suite=True,
)

JUMP_SIBLINGS: Final = Benchmark(
    name="jump-siblings",
    config=JumpSiblingsConfig,
    parts=(
        Part(
            needs=(PLATES,),
            uses=(Input("targets", note="of compounds"),),
            rows=f"{_HERE}.jump:sibling_rows",
        ),
    ),
    cost="as jump-detection, then profiles^2 D",
    source=f"{_JUMP}; Kraus et al., CVPR 2024; copairs 0.5.5",
    examples=(
        "benchmark jump-siblings --profiles 'plates/*.csv.gz' --targets compounds.tsv --ties gt",
        "benchmark jump-siblings --profiles 'crispr/*.parquet' --siblings guides",
    ),
    in_suite=True,
)

JUMP_MATCHING: Final = Benchmark(
    name="jump-matching",
    config=JumpMatchingConfig,
    parts=(
        Part(
            needs=(
                Input("compounds", reader=PLATES.reader, note="plates"),
                Input("genes", reader=PLATES.reader, note="CRISPR or ORF plates"),
            ),
            uses=(Input("targets", note="of compounds"),),
            rows=f"{_HERE}.jump:matching_rows",
        ),
    ),
    cost="as jump-siblings, for both",
    source=_JUMP,
    examples=("benchmark jump-matching --compounds 'compound/*.csv.gz' --genes 'crispr/*.csv.gz'",),
)

ACTIVITY: Final = Benchmark(
    name="phenotypic-activity",
    config=ActivityConfig,
    parts=(Part(needs=(ANY_TABLE,), rows=f"{_HERE}.phenotypic:activity_rows"),),
    cost="as jump-detection",
    source="copairs 0.5.5",
    examples=("benchmark phenotypic-activity --profiles work/embed/KEY --negative-same plate",),
    in_suite=True,
)

PHENOTYPIC_CONSISTENCY: Final = Benchmark(
    name="phenotypic-consistency",
    config=PhenotypicConsistencyConfig,
    parts=(Part(needs=(ANY_TABLE,), rows=f"{_HERE}.phenotypic:label_rows"),),
    cost="profiles^2 D; 100,000 random rankings per configuration",
    source="copairs 0.5.5",
    examples=("benchmark phenotypic-consistency --profiles work/embed/KEY --label moa",),
    in_suite=True,
)

PERCENT_REPLICATING: Final = Benchmark(
    name="percent-replicating",
    config=PercentReplicatingConfig,
    parts=(Part(needs=(ANY_TABLE,), rows=f"{_HERE}.phenotypic:replicating_rows"),),
    cost="10,000 random groups per size",
    source=_JUMP,
    examples=(
        "benchmark percent-replicating --profiles work/embed/KEY",
        "benchmark percent-replicating --profiles work/embed/KEY --group-by moa --different perturbation",
    ),
    in_suite=True,
)
