"""Settings of a simulated screen: its biology, its plates and its nuisances."""

from __future__ import annotations

from pydantic import model_validator

from phenoscale.config import Config, Runtime, setting
from phenoscale.errors import UserError
from phenoscale.screens.simulate.phenotypes import PAINTED_CHANNELS


class BiologyConfig(Config):
    """The planted biology: modules of genes that share a phenotype, guides, chromosome arms."""

    num_modules: int = setting(
        20, ge=1, help="gene modules; the genes of one module share a phenotype direction"
    )
    genes_per_module: int = setting(5, ge=1, help="genes in each module")
    num_unexpressed_genes: int = setting(20, ge=0, help="genes that are not expressed and have no phenotype")
    guides_per_gene: int = setting(4, ge=1, help="guides that target each gene")
    effect_strength: float = setting(2.5, ge=0, help="length of a gene's phenotype, in latent units")
    intensity_share: float = setting(
        0.2, ge=0, le=1, help="size of a phenotype's stain-intensity part relative to shape and texture"
    )
    within_module_spread: float = setting(
        0.35,
        ge=0,
        help="how far a gene strays from its module's direction, relative to the direction's length",
    )
    guide_efficacy_low: float = setting(
        0.5, ge=0, le=1, help="least share of a gene's phenotype that a guide causes"
    )
    guide_noise: float = setting(0.15, ge=0, help="guide-specific deviation, relative to the effect strength")
    off_target_probability: float = setting(
        0.1, ge=0, le=1, help="chance that a guide also hits something else"
    )
    off_target_strength: float = setting(
        0.5, ge=0, help="length of an off-target phenotype, relative to an effect"
    )
    num_arms: int = setting(4, ge=1, help="chromosome arms over which the genes are spread evenly")
    arm_strength: float = setting(
        0.5, ge=0, help="phenotype shared by every gene of an arm (proximity bias), relative to an effect"
    )
    well_noise: float = setting(0.15, ge=0, help="well-to-well deviation, in latent units per dimension")
    cell_noise: float = setting(0.4, ge=0, help="cell-to-cell deviation, in latent units per dimension")
    positive_control_strength: float = setting(4.0, ge=0, help="length of the positive control's phenotype")


class LayoutConfig(Config):
    """Number and size of experiments, plates and fields of view."""

    num_experiments: int = setting(3, ge=1, help="experiments; every guide occurs once in each")
    rows: int = setting(16, ge=2, le=32, help="rows of a plate")
    columns: int = setting(24, ge=2, le=48, help="columns of a plate")
    negative_controls_per_plate: int = setting(
        48, ge=0, help="wells with a non-targeting guide on each plate"
    )
    positive_controls_per_plate: int = setting(6, ge=0, help="wells with the positive control on each plate")
    sites_per_well: int = setting(1, ge=1, help="fields of view imaged in each well")
    field_size_px: int = setting(128, ge=32, help="height and width of a field of view in pixels")
    cells_per_field: float = setting(9.0, gt=0, help="mean number of cells in a field of 128 x 128 pixels")


class NuisanceConfig(Config):
    """Nuisances of the microscope and the bench; kept in full when `null` is set."""

    experiment_gain: float = setting(
        0.35, ge=0, help="standard deviation of the log stain gain between experiments"
    )
    plate_gain: float = setting(0.12, ge=0, help="standard deviation of the log stain gain between plates")
    well_gain: float = setting(0.40, ge=0, help="standard deviation of the log stain gain between wells")
    experiment_shift: float = setting(
        0.5, ge=0, help="phenotype shift between experiments, latent units per dimension"
    )
    plate_shift: float = setting(
        0.15, ge=0, help="phenotype shift between plates, latent units per dimension"
    )
    position_shift: float = setting(
        0.4, ge=0, help="phenotype shift from the center to the edge of a plate, latent units per dimension"
    )
    position_gain: float = setting(0.2, ge=0, help="log stain gain from one side of a plate to the other")
    illumination: float = setting(0.25, ge=0, help="fall-off of the illumination across a field, as a share")
    focus_px: float = setting(
        0.6, ge=0, help="mean blur of a plate in pixels (standard deviation of a Gaussian)"
    )
    focus_spread: float = setting(0.3, ge=0, help="relative deviation of the blur between wells and plates")
    background: float = setting(0.03, ge=0, help="background of every channel, as a share of the full scale")
    photons: float = setting(1000.0, gt=0, help="photons at full scale: fewer photons, more shot noise")
    read_noise: float = setting(0.01, ge=0, help="camera noise, as a share of the full scale")


class SimulateConfig(Config):
    """Draw a screen with a known answer: TIFF files and a field table, as a microscope would leave them.

    Cells have nuclei, cytoplasm, texture and per-channel structures. Genes of one module share a phenotype;
    the answer key (`truth/`) holds the planted latents, the module pairs, the arms and the expression. The
    same seed gives the same pixels, whatever the order of the fields or the number of workers.
    """

    screen: str = setting("simulated", min_length=1, help="name of the screen")
    channels: tuple[str, ...] = setting(
        PAINTED_CHANNELS, help="stains to paint, in order, out of: " + ", ".join(PAINTED_CHANNELS)
    )
    null: bool = setting(False, help="plant no phenotype at all, but keep every nuisance")
    seed: int = setting(0, ge=0, help="seed of everything that is drawn")
    biology: BiologyConfig = BiologyConfig()
    layout: LayoutConfig = LayoutConfig()
    nuisance: NuisanceConfig = NuisanceConfig()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _check_channels(self) -> SimulateConfig:
        unknown = [name for name in self.channels if name not in PAINTED_CHANNELS]
        if unknown or len(set(self.channels)) != len(self.channels) or not self.channels:
            raise UserError(
                f"channels are {list(self.channels)}, but a simulated screen paints each of "
                f"{list(PAINTED_CHANNELS)} at most once; choose among these"
            )
        return self

    @model_validator(mode="after")
    def _check_wells(self) -> SimulateConfig:
        room = self.layout.rows * self.layout.columns
        controls = self.layout.negative_controls_per_plate + self.layout.positive_controls_per_plate
        if controls >= room:
            raise UserError(
                f"{controls} control wells leave no room on a plate of {room} wells; "
                "lower layout.negative_controls_per_plate or enlarge the plate"
            )
        return self
