"""Plan a simulated screen: genes and their planted latents, guides, plate layouts and nuisances.

Everything is a pure function of the configuration. Shapes: G genes, P latent dimensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.screens.simulate.cells import Optics
from phenoscale.screens.simulate.config import BiologyConfig, SimulateConfig
from phenoscale.screens.simulate.phenotypes import NUM_LATENTS, latent_weights

NEGATIVE_CONTROL = "non-targeting"
POSITIVE_CONTROL = "positive-control"
_UNEXPRESSED_ZFPKM = -4.0
_EXPRESSED_ZFPKM = 1.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlateNuisance:
    """What one plate adds: log stain gains, phenotype shift, blur, illumination and its direction."""

    log_gains: Array
    shift_P: Array
    position_P: Array
    position_log_gains: Array
    focus_px: float
    direction: float


@dataclass(frozen=True)
class ScreenPlan:
    """All that is known of a screen before a pixel is drawn.

    Attributes:
        genes: one row per gene: gene, module ("" without one), arm, is_expressed, zfpkm.
        latents_GP: planted phenotype of each gene, without arm effect, guides or noise; 0 when `null`.
        wells: one row per well: its address, row, column, perturbation, gene, guide, control_type.
        effects: phenotype that a guide causes, with arm effect, efficacy and off-targets, by guide name.
        nuisances: what each plate adds, by (experiment, plate).
    """

    config: SimulateConfig
    genes: pd.DataFrame
    latents_GP: Array
    wells: pd.DataFrame
    effects: dict[str, Array]
    nuisances: dict[tuple[str, str], PlateNuisance]


def generator_for(seed: int, *parts: object) -> np.random.Generator:
    """A random stream of its own for each (seed, purpose): the order of the draws cannot matter."""
    text = "/".join(str(part) for part in (seed, *parts))
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big"))
    )


def plan_screen(config: SimulateConfig) -> ScreenPlan:
    """Plan the whole screen."""
    genes = _genes(config)
    latents_GP = _gene_latents(config, genes)
    effects = _guide_effects(config, genes, latents_GP=latents_GP)
    wells = _wells(config, genes)
    nuisances = {
        key: _plate_nuisance(config, key)
        for key in dict.fromkeys(zip(wells["experiment"], wells["plate"], strict=True))
    }
    return ScreenPlan(config, genes, latents_GP, wells, effects, nuisances)


def module_pairs(genes: pd.DataFrame) -> pd.DataFrame:
    """The planted relationships as an annotation source: every pair of genes of one module."""
    pairs = [
        (first, second)
        for _, members in genes[genes["module"] != ""].groupby("module", sort=True)["gene"]
        for index, first in enumerate(members)
        for second in members.iloc[index + 1 :]
    ]
    return pd.DataFrame(pairs, columns=["entity1", "entity2"])


def field_latents(plan: ScreenPlan, well: pd.Series, *, site: int) -> Array:
    """Latents of the cells of one field, [N, P]: the guide's effect, the plate's shift and the noise."""
    config, biology = plan.config, plan.config.biology
    key = (well["experiment"], well["plate"], well["well"])
    in_well = generator_for(config.seed, "well", *key)
    nuisance = plan.nuisances[key[:2]]
    edge = _edge_share(well, config)
    center_P = (
        plan.effects.get(str(well["guide"]), np.zeros(NUM_LATENTS))
        + nuisance.shift_P
        + edge * nuisance.position_P
        + biology.well_noise * in_well.standard_normal(NUM_LATENTS)
    )
    in_field = generator_for(config.seed, "cells", *key, site)
    area = (config.layout.field_size_px / 128) ** 2
    num_cells = int(in_field.poisson(config.layout.cells_per_field * area))
    return center_P + biology.cell_noise * in_field.standard_normal((num_cells, NUM_LATENTS))


def field_optics(plan: ScreenPlan, well: pd.Series, *, site: int) -> Optics:
    """What the microscope does to one field: gains of plate, position and well, blur and illumination."""
    config, nuisance = plan.config, plan.config.nuisance
    key = (well["experiment"], well["plate"], well["well"])
    generator = generator_for(config.seed, "optics", *key, site)
    plate = plan.nuisances[key[:2]]
    across = well["column"] / max(config.layout.columns - 1, 1) - 0.5
    num_channels = len(config.channels)
    log_gains = (
        plate.log_gains
        + across * plate.position_log_gains
        + nuisance.well_gain * generator.standard_normal(num_channels)
    )
    focus = plate.focus_px * np.exp(nuisance.focus_spread * generator.standard_normal())
    return Optics(
        gains=tuple(np.exp(log_gains).tolist()),
        focus_px=float(focus),
        illumination=nuisance.illumination,
        direction=plate.direction,
        background=nuisance.background,
        photons=nuisance.photons,
        read_noise=nuisance.read_noise,
    )


def _genes(config: SimulateConfig) -> pd.DataFrame:
    biology = config.biology
    num_expressed = biology.num_modules * biology.genes_per_module
    total = num_expressed + biology.num_unexpressed_genes
    modules = np.repeat(
        [f"M{index + 1:02d}" for index in range(biology.num_modules)], biology.genes_per_module
    )
    generator = generator_for(config.seed, "genes")
    arms = np.array([f"{index // 2 + 1}{'pq'[index % 2]}" for index in range(biology.num_arms)])
    # Expressed and unexpressed genes are spread over the arms apart, so that every arm has both.
    spread = [
        generator.permutation(np.resize(arms, count))
        for count in (num_expressed, biology.num_unexpressed_genes)
    ]
    expressed = np.arange(total) < num_expressed
    zfpkm = np.where(expressed, _EXPRESSED_ZFPKM, _UNEXPRESSED_ZFPKM) + 0.25 * generator.standard_normal(
        total
    )
    return pd.DataFrame(
        {
            "gene": [f"G{index + 1:04d}" for index in range(total)],
            "module": [*modules, *[""] * biology.num_unexpressed_genes],
            "arm": np.concatenate(spread),
            "is_expressed": expressed,
            "zfpkm": np.round(zfpkm, 3),
        }
    )


def _direction(generator: np.random.Generator, biology: BiologyConfig) -> Array:
    """A random phenotype direction of unit length, weighted towards shape and texture."""
    vector_P = generator.standard_normal(NUM_LATENTS) * latent_weights(biology.intensity_share)
    return np.asarray(vector_P / np.linalg.norm(vector_P), np.float64)


def _gene_latents(config: SimulateConfig, genes: pd.DataFrame) -> Array:
    biology = config.biology
    latents_GP = np.zeros((len(genes), NUM_LATENTS))
    if config.null:
        return latents_GP
    for index, (gene, module) in enumerate(zip(genes["gene"], genes["module"], strict=True)):
        if module:
            shared_P = _direction(generator_for(config.seed, "module", module), biology)
            own_P = _direction(generator_for(config.seed, "gene", gene), biology)
            vector_P = shared_P + biology.within_module_spread * own_P
            latents_GP[index] = biology.effect_strength * vector_P / np.linalg.norm(vector_P)
    return latents_GP


def _guide_effects(config: SimulateConfig, genes: pd.DataFrame, *, latents_GP: Array) -> dict[str, Array]:
    if config.null:
        return {}
    biology, effects = config.biology, {}
    for index, (gene, arm) in enumerate(zip(genes["gene"], genes["arm"], strict=True)):
        arm_P = biology.arm_strength * _direction(generator_for(config.seed, "arm", arm), biology)
        for guide in _guides(gene, biology):
            generator = generator_for(config.seed, "guide", guide)
            efficacy = generator.uniform(biology.guide_efficacy_low, 1)
            off_target = biology.off_target_strength * (generator.random() < biology.off_target_probability)
            stray_P = (off_target * _direction(generator, biology)) + biology.guide_noise * _direction(
                generator, biology
            )
            effects[guide] = efficacy * latents_GP[index] + biology.effect_strength * (arm_P + stray_P)
    control_P = _direction(generator_for(config.seed, "positive control"), biology)
    effects[POSITIVE_CONTROL] = biology.positive_control_strength * control_P
    return effects


def _guides(gene: str, biology: BiologyConfig) -> list[str]:
    return [f"{gene}_guide_{number + 1}" for number in range(biology.guides_per_gene)]


def _wells(config: SimulateConfig, genes: pd.DataFrame) -> pd.DataFrame:
    """Every guide once in each experiment, controls on every plate, all at random places."""
    layout, biology = config.layout, config.biology
    guides = [(gene, guide) for gene in genes["gene"] for guide in _guides(gene, biology)]
    controls = [(NEGATIVE_CONTROL, "negative")] * layout.negative_controls_per_plate
    controls += [(POSITIVE_CONTROL, "positive")] * layout.positive_controls_per_plate
    room = layout.rows * layout.columns - len(controls)
    num_plates = -(-len(guides) // room)
    rows = []
    for experiment in range(layout.num_experiments):
        name = f"experiment-{experiment + 1:02d}"
        shuffled = generator_for(config.seed, "guides", name).permutation(len(guides))
        for plate, members in enumerate(np.array_split(shuffled, num_plates)):
            wells = [(gene, gene, guide, "") for gene, guide in (guides[index] for index in members)]
            wells += [(control, "", control, kind) for control, kind in controls]
            places = generator_for(config.seed, "places", name, plate).permutation(
                layout.rows * layout.columns
            )
            for place, well in sorted(zip(places[: len(wells)].tolist(), wells, strict=True)):
                row, column = divmod(place, layout.columns)
                rows.append((name, f"plate-{plate + 1:02d}", _address(row, column), *well, row, column))
    columns = [
        "experiment",
        "plate",
        "well",
        "perturbation",
        "gene",
        "guide",
        "control_type",
        "row",
        "column",
    ]
    return pd.DataFrame(rows, columns=columns)


def _address(row: int, column: int) -> str:
    letters = chr(ord("A") + row) if row < 26 else "A" + chr(ord("A") + row - 26)
    return f"{letters}{column + 1:02d}"


def _edge_share(well: pd.Series, config: SimulateConfig) -> float:
    """-0.5 at the center of the plate, rising to 0.5 at its edge."""
    layout = config.layout
    down = abs(2 * well["row"] / max(layout.rows - 1, 1) - 1)
    along = abs(2 * well["column"] / max(layout.columns - 1, 1) - 1)
    return float(max(down, along) ** 2 - 0.5)


def _plate_nuisance(config: SimulateConfig, key: tuple[str, str]) -> PlateNuisance:
    nuisance, num_channels = config.nuisance, len(config.channels)
    shared = generator_for(config.seed, "experiment nuisance", key[0])
    own = generator_for(config.seed, "plate nuisance", *key)
    screen = generator_for(config.seed, "position nuisance")
    log_gains = nuisance.experiment_gain * shared.standard_normal(num_channels)
    log_gains += nuisance.plate_gain * own.standard_normal(num_channels)
    shift_P = nuisance.experiment_shift * shared.standard_normal(NUM_LATENTS)
    shift_P += nuisance.plate_shift * own.standard_normal(NUM_LATENTS)
    return PlateNuisance(
        log_gains=log_gains,
        shift_P=shift_P,
        position_P=nuisance.position_shift * screen.standard_normal(NUM_LATENTS),
        position_log_gains=nuisance.position_gain * screen.standard_normal(num_channels),
        focus_px=float(nuisance.focus_px * np.exp(nuisance.focus_spread * own.standard_normal())),
        direction=float(own.uniform(0, 2 * np.pi)),
    )
