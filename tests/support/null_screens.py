"""Embedding-level screens with a known answer: modules, guides, arms, positions, batches, or nothing planted.

A `null` screen keeps every nuisance (batch, plate, position, chromosome arm, noise) and plants no module, so
a benchmark of relationships must find chance. Shapes: N wells, D dimensions, G genes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.benchmarks.relations.annotations import AnnotationSource, make_source
from phenoscale.schema.addresses import format_address
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import PerturbationMap

Array = npt.NDArray[np.float64]
NEGATIVE_CONTROL = "non-targeting"


@dataclass(frozen=True)
class ScreenSpec:
    """What an embedding-level screen plants; lengths are in units of the well noise per dimension."""

    num_modules: int = 20
    genes_per_module: int = 5
    num_unexpressed: int = 40
    guides_per_gene: int = 3
    num_experiments: int = 3
    num_rows: int = 16
    num_columns: int = 24
    num_negative_controls: int = 48
    dimensions: int = 32
    num_arms: int = 4
    effect: float = 4.0
    own_effect: float = 2.0
    guide_noise: float = 1.0
    arm_effect: float = 2.0
    experiment_shift: float = 3.0
    plate_shift: float = 1.0
    position_effect: float = 1.0
    null: bool = False
    seed: int = 0

    @property
    def num_genes(self) -> int:
        """Expressed and unexpressed genes."""
        return self.num_modules * self.genes_per_module + self.num_unexpressed


@dataclass(frozen=True)
class SimulatedScreen:
    """A screen and its answer key.

    Attributes:
        table: well embeddings.
        genes: gene, module (empty without one), arm, zfpkm.
        pairs: pairs of genes of one module.
        oracle: the planted vector of each gene, without arm effect.
    """

    table: EmbeddingTable
    genes: pd.DataFrame
    pairs: AnnotationSource
    oracle: PerturbationMap


def simulate_screen(spec: ScreenSpec) -> SimulatedScreen:
    """Draw a screen; the same spec gives the same screen."""
    generator = np.random.default_rng(spec.seed)
    genes = _genes(spec, generator=generator)
    effects_GD = _gene_effects(spec, genes, generator=generator)
    arms = sorted(genes["arm"].unique())
    arm_AD = spec.arm_effect * _directions(generator, count=len(arms), dimensions=spec.dimensions)
    with_arm_GD = effects_GD + arm_AD[[arms.index(arm) for arm in genes["arm"]]]
    guides = genes.loc[genes.index.repeat(spec.guides_per_gene), ["gene"]].reset_index(names="index")
    guides["guide"] = guides["gene"] + "_" + (guides.groupby("gene").cumcount() + 1).astype(str)
    guide_vectors = with_arm_GD[guides["index"]]
    guide_vectors = guide_vectors + spec.guide_noise * _directions(
        generator, count=len(guides), dimensions=spec.dimensions
    )
    frame, planted = _wells(spec, guides, vectors=guide_vectors, generator=generator)
    nuisance = _nuisance(spec, frame, generator=generator)
    noise = generator.standard_normal((len(frame), spec.dimensions))
    # Real embeddings are far from isotropic: mix the dimensions, or whitening would have nothing to do.
    mixing = generator.standard_normal((spec.dimensions,) * 2) + 2 * np.eye(spec.dimensions)
    table = EmbeddingTable(frame, (planted + nuisance + noise) @ mixing + 5.0, "well", encoder="simulated")
    return SimulatedScreen(
        table=table,
        genes=genes,
        pairs=_module_pairs(genes),
        oracle=PerturbationMap(pd.DataFrame({"perturbation": genes["gene"]}), effects_GD),
    )


def _genes(spec: ScreenSpec, *, generator: np.random.Generator) -> pd.DataFrame:
    num_expressed = spec.num_modules * spec.genes_per_module
    modules = [f"module {index // spec.genes_per_module + 1}" for index in range(num_expressed)]
    arm_names = np.array([f"{index // 2 + 1}{'pq'[index % 2]}" for index in range(spec.num_arms)])
    arms = [
        generator.permutation(np.resize(arm_names, count)) for count in (num_expressed, spec.num_unexpressed)
    ]
    expressed = np.arange(spec.num_genes) < num_expressed
    return pd.DataFrame(
        {
            "gene": [f"GENE{index + 1:04d}" for index in range(spec.num_genes)],
            "module": modules + [""] * spec.num_unexpressed,
            "arm": np.concatenate(arms),
            "zfpkm": np.where(expressed, 1.0, -4.0),
        }
    )


def _gene_effects(spec: ScreenSpec, genes: pd.DataFrame, *, generator: np.random.Generator) -> Array:
    shared = _directions(generator, count=spec.num_modules, dimensions=spec.dimensions)
    own = _directions(generator, count=len(genes), dimensions=spec.dimensions)
    effects = np.zeros((len(genes), spec.dimensions))
    if spec.null:
        return effects
    expressed = np.flatnonzero(genes["module"] != "")
    effects[expressed] = spec.effect * np.repeat(shared, spec.genes_per_module, axis=0)
    effects[expressed] += spec.own_effect * own[expressed]
    return effects


def _directions(generator: np.random.Generator, *, count: int, dimensions: int) -> Array:
    vectors = generator.standard_normal((count, dimensions))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float64)


def _wells(
    spec: ScreenSpec, guides: pd.DataFrame, *, vectors: Array, generator: np.random.Generator
) -> tuple[pd.DataFrame, Array]:
    """Every guide once per experiment and the negative controls on each plate, all at random places."""
    room = spec.num_rows * spec.num_columns - spec.num_negative_controls
    num_plates = -(-len(guides) // room)
    of_guide = list(
        zip(guides["gene"].tolist(), guides["guide"].tolist(), [False] * len(guides), strict=True)
    )
    rows, planted = [], []
    for experiment in range(spec.num_experiments):
        shares = np.array_split(generator.permutation(len(guides)), num_plates)
        for plate, members in enumerate(shares):
            places = generator.permutation(spec.num_rows * spec.num_columns)
            names = [of_guide[index] for index in members]
            names += [(NEGATIVE_CONTROL, NEGATIVE_CONTROL, True)] * spec.num_negative_controls
            for place, (gene, guide, is_control) in zip(places, names, strict=False):
                address = format_address(*divmod(int(place), spec.num_columns))
                rows.append(
                    (f"experiment {experiment + 1}", f"plate {plate + 1}", address, gene, guide, is_control)
                )
            planted.append(
                np.concatenate([vectors[members], np.zeros((spec.num_negative_controls, vectors.shape[1]))])
            )
    columns = ["experiment", "plate", "well", "perturbation", "guide", "is_negative_control"]
    frame = pd.DataFrame(rows, columns=columns)
    controls = frame["is_negative_control"].to_numpy(dtype=bool)
    frame = frame.assign(
        screen="simulated",
        cell_type="simulated",
        timepoint_h=96.0,
        perturbation_type=np.where(controls, "control", "crispr"),
        gene=frame["perturbation"].where(~controls, ""),
        is_positive_control=False,
    )
    return frame, np.concatenate(planted)


def _nuisance(spec: ScreenSpec, frame: pd.DataFrame, *, generator: np.random.Generator) -> Array:
    """Shifts of experiments and plates, and a shift from the middle of the plate to its edge."""
    total = np.zeros((len(frame), spec.dimensions))
    for columns, length in (
        (["experiment"], spec.experiment_shift),
        (["experiment", "plate"], spec.plate_shift),
    ):
        codes = frame.groupby(columns).ngroup().to_numpy()
        total += length * generator.standard_normal((codes.max() + 1, spec.dimensions))[codes]
    places = np.array([_from_center(address, spec) for address in frame["well"]])
    return total + spec.position_effect * places @ generator.standard_normal((2, spec.dimensions))


def _from_center(address: str, spec: ScreenSpec) -> tuple[float, float]:
    row, column = ord(address[0]) - ord("A"), int(address[1:]) - 1
    down, along = 2 * row / (spec.num_rows - 1) - 1, 2 * column / (spec.num_columns - 1) - 1
    return along, max(abs(down), abs(along)) ** 2


def _module_pairs(genes: pd.DataFrame) -> AnnotationSource:
    pairs = [
        pair
        for _, members in genes[genes["module"] != ""].groupby("module")["gene"]
        for pair in combinations(members.tolist(), 2)
    ]
    return make_source("modules", pairs)
