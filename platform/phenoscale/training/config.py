"""Settings of `pretrain`, as a user writes them; the loop gets plain dataclasses made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from phenoscale.config import Config, Runtime, fingerprint, location, runtime, setting

if TYPE_CHECKING:
    from phenoscale.schema.encoders import Precision
    from phenoscale.training.settings import TrainingSettings


DecayRate = Annotated[float, Field(ge=0, lt=1)]

TINY_CROP_PX = 64
TINY_BATCH = 8
TINY_STEPS = 2
TINY_GHOST_BATCH = 4
TINY_VALIDATION_CROPS = 4
BLOCK_SETTINGS = ("block", "qk_norm", "layer_scale_init")


class ModelConfig(Config):
    """The model: a family, a named size of it, and what is different from that size."""

    family: Literal["mae", "ca_mae", "mu_net", "wsl"] = setting(
        "mae",
        help="mae and ca_mae (one token per patch and channel) restore hidden patches with a transformer, "
        "mu_net with a U-Net; wsl names the perturbation",
    )
    size: str = setting(
        "S/16",
        help="tiny or small (64 px crops, for a laptop), or a published size: S/16, B/8, ... G/8; of ca_mae "
        "openphenom too; M or L of mu_net; densenet161, dense-small or dense-tiny of wsl",
    )
    patch_size: int | None = setting(None, ge=1, help="height and width of a patch, in pixels")
    embedding_dim: int | None = setting(None, ge=4, help="width of a transformer")
    num_blocks: int | None = setting(None, ge=1, help="blocks of the encoder (of mu_net: of its bottleneck)")
    num_heads: int | None = setting(None, ge=1, help="attention heads of the encoder")
    mlp_ratio: float | None = setting(
        None, gt=0, help="hidden width of an MLP, as a multiple of its outer width"
    )
    decoder_dim: int | None = setting(None, ge=4, help="width of the decoder")
    decoder_blocks: int | None = setting(None, ge=1, help="transformer blocks of the decoder")
    decoder_heads: int | None = setting(None, ge=1, help="attention heads of the decoder")
    mask_ratio: float | None = setting(
        None, gt=0, lt=1, help="fraction of the patches that the encoder does not see; published: .75"
    )
    drop_path_rate: float | None = setting(None, ge=0, lt=1, help="stochastic depth of the last block")
    block: Literal["standard", "parallel"] | None = setting(
        None, help="one after the other, or attention and MLP side by side"
    )
    qk_norm: bool | None = setting(None, help="normalize queries and keys")
    layer_scale_init: float | None = setting(None, gt=0, help="initial value of LayerScale")
    max_channels: int | None = setting(None, ge=1, help="most channels that ca_mae can read")
    backbone: str | None = setting(None, help="backbone of wsl: vit, or the name of a DenseNet")
    widths: tuple[int, ...] = setting((), help="channels of each stage of mu_net, the finest first")
    neck_dim: int | None = setting(None, ge=1, help="length of the embedding of wsl's densenet161")
    ghost_batch: int | None = setting(
        None, ge=2, help="crops of one plate that share batch-norm statistics (AdaBN, densenet161 of wsl)"
    )

    def build(self, *, num_channels: int, crop_size: int | None, num_classes: int | None = None) -> Any:
        """The full description of the model for a number of channels, and of classes if it learns labels.

        Raises:
            UserError: no such size, a setting that the family does not have, or dimensions that do not fit.
        """
        from phenoscale.models.families import model_config

        given = {**self.model_dump(exclude={"family", "size"}), "crop_size": crop_size}
        changes = {name: value for name, value in given.items() if value not in (None, ())}
        return model_config(
            self.family, size=self.size, num_channels=num_channels, num_classes=num_classes, **changes
        )

    def shrunk(self) -> ModelConfig:
        """The smallest model of the same family and kind, with blocks like those of this one."""
        from phenoscale.models.families import find_family

        of_size = find_family(self.family).sizes.get(self.size, {})
        own = {name: getattr(self, name) for name in BLOCK_SETTINGS}
        blocks = {name: of_size.get(name) if value is None else value for name, value in own.items()}
        return ModelConfig(
            **blocks,
            family=self.family,
            size="dense-tiny" if self.size.startswith("dense") else "tiny",
            mask_ratio=self.mask_ratio,
            drop_path_rate=self.drop_path_rate,
            ghost_batch=self.ghost_batch and min(self.ghost_batch, TINY_GHOST_BATCH),
        )


class LossConfig(Config):
    """(1 - alpha) * masked mean squared error + alpha * Fourier loss; wsl has cross-entropy."""

    alpha: float = setting(0.01, ge=0, le=1, help="weight of the Fourier loss")
    fourier: Literal["per_patch", "legacy"] = setting(
        "per_patch", help="transform each patch (the paper), or as the released code does"
    )


class OptimizerConfig(Config):
    """The optimizer; weight decay acts on matrices only, not on biases, norms, positions or single tokens."""

    name: Literal["lion", "adamw", "sgd"] = setting("lion", help="optimizer: lion, adamw or sgd")
    learning_rate: float = setting(1e-4, gt=0, help="learning rate at the end of the warm-up")
    betas: tuple[DecayRate, DecayRate] = setting(
        (0.9, 0.95), help="decay rates of the averages that lion and adamw keep"
    )
    momentum: DecayRate = setting(0.0, help="momentum of sgd; lion and adamw have betas")
    weight_decay: float = setting(
        0.05, ge=0, help="weight decay of matrices: decoupled, for sgd an L2 penalty"
    )


class ScheduleConfig(Config):
    """The learning rate over the steps: a warm-up, then a decay."""

    shape: Literal["cosine", "one_cycle_released", "cyclic_cosine", "constant"] = setting(
        "cosine",
        help="learning rate after the warm-up: half a cosine down to zero (the papers); the released "
        "configuration's one cycle, which moves beta as well; num_cycles half cosines; or constant",
    )
    warmup: Literal["linear", "cosine"] = setting(
        "linear", help="shape of the warm-up; one_cycle_released has its own"
    )
    warmup_fraction: float = setting(
        0.1, ge=0, lt=1, help="share of all steps over which the learning rate rises"
    )
    num_cycles: int = setting(1, ge=1, help="number of half cosines of cyclic_cosine")


class GuardConfig(Config):
    """When to warn and when to stop."""

    divergence_factor: float = setting(
        4.0, gt=1, help="stop when the smoothed loss exceeds its lowest value by this factor"
    )
    plateau_records: int = setting(
        50, ge=0, help="log it when the smoothed loss has not improved over this many records; 0: never"
    )
    early_stop_patience: int = setting(
        0, ge=0, help="stop after this many validations without improvement; 0: never"
    )


class PretrainConfig(Config):
    """Train an encoder on the crops of a manifest: to restore hidden patches, or to name the perturbation.

    Killed or preempted, the same command goes on from the newest checkpoint, with the same result to the
    last bit (on the same processors). Any number of processes gives the same training, up to rounding.
    """

    manifest: str = location("", help="manifest folder, the output of `curate`")
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    guards: GuardConfig = GuardConfig()
    tiny: bool = setting(
        False, help="rehearse: two steps of the family's smallest model on few small crops, all else as it is"
    )
    crop_size: int | None = setting(
        None, ge=1, help="height and width of a crop, in pixels; default: that of the model size"
    )
    label: str = setting(
        "perturbation",
        help="column of the well table that wsl learns to predict; negative controls are one class",
    )
    sampling: Literal["auto", "uniform", "balanced"] = setting(
        "auto", help="draw fields, or labels, equally often; auto: labels for wsl, else fields"
    )
    flips: bool = setting(True, help="flip crops at random, up-down and left-right")
    global_batch: int = setting(256, ge=1, help="crops of one step, over all processes")
    micro_batch: int = runtime(
        0, ge=0, help="crops of one forward pass of one process, gradients are accumulated; 0: all at once"
    )
    num_epochs: float = setting(
        100.0, gt=0, help="passes over the training fields, one crop of each per pass"
    )
    num_steps: int | None = setting(None, ge=1, help="optimizer steps; when given, in place of num_epochs")
    precision: Literal["auto", "bf16", "fp32"] = setting(
        "auto", help="bf16 or fp32 forward passes; auto: bf16 where the processor has it"
    )
    ema_decay: float | None = setting(
        None,
        gt=0,
        lt=1,
        help="decay of a running average of the weights, such as 0.999; the encoder is made of the average",
    )
    checkpoint_every_steps: int = runtime(500, ge=1, help="steps between checkpoints")
    keep_checkpoints: int = runtime(2, ge=1, help="newest checkpoints that are kept while training")
    validate_every_steps: int = setting(500, ge=1, help="steps between measurements of the validation loss")
    num_validation_crops: int = setting(
        256, ge=0, help="center crops of validation fields, the same with the same masks every time"
    )
    num_reconstructions: int = setting(
        8, ge=0, help="validation crops whose reconstructions are kept to look at"
    )
    log_every_steps: int = setting(10, ge=1, help="steps between records in metrics.jsonl")
    seed: int = setting(0, ge=0, help="decides weights, order, crops, flips and masks")
    compile: bool = runtime(
        False, help="compile each block of the model (needs a C++ compiler; pays on GPUs)"
    )
    recompute: Literal["none", "elementwise", "blocks"] = runtime(
        "none",
        help="activations that the backward pass computes again to save memory: none, all but matrix "
        "products and attention, or whole blocks",
    )
    parallel: Literal["ddp", "fsdp"] = runtime(
        "ddp",
        help="ddp: each process has the whole model; fsdp: a shard of it, for models too large for one GPU",
    )
    runtime: Runtime = Runtime()

    @property
    def learns_labels(self) -> bool:
        """Whether the model's family needs labels."""
        return self.model.family == "wsl"

    @property
    def balances_labels(self) -> bool:
        """Whether every label is drawn equally often."""
        return self.sampling == "balanced" or (self.sampling == "auto" and self.learns_labels)

    def as_trained(self) -> PretrainConfig:
        """What is trained: this config, or its rehearsal if it is `tiny`."""
        if not self.tiny:
            return self
        changes: dict[str, Any] = {
            "model": self.model.shrunk(),
            "crop_size": min(self.crop_size or TINY_CROP_PX, TINY_CROP_PX),
            "global_batch": TINY_BATCH,
            "micro_batch": 0,
            "num_steps": TINY_STEPS,
            "num_validation_crops": min(self.num_validation_crops, TINY_VALIDATION_CROPS),
            "num_reconstructions": min(self.num_reconstructions, TINY_VALIDATION_CROPS),
            "log_every_steps": 1,
            "compile": False,  # compiling takes minutes, two small steps do not
            "tiny": False,
        }
        return self.model_copy(update=changes)

    def settings(
        self,
        *,
        num_fields: int,
        num_channels: int,
        intensity_scale: float,
        precision: Precision,
        num_classes: int | None = None,
    ) -> TrainingSettings:
        """What the training loop gets.

        Args:
            num_fields: training fields of the manifest: crops of one epoch.
            num_channels: channels of the crops.
            intensity_scale: what raw intensities are divided by before self-standardization.
            precision: the precision that `auto` stands for here.
            num_classes: labels of the training fields, for a family that learns them.
        """
        from phenoscale.models.losses import LossSettings
        from phenoscale.training import settings as plain

        # a rehearsal refuses the model that the training would refuse
        self.model.build(num_channels=num_channels, crop_size=self.crop_size, num_classes=num_classes)
        trained = self.as_trained()
        num_steps = trained.num_steps or max(1, round(self.num_epochs * num_fields / self.global_batch))
        return plain.TrainingSettings(
            model=trained.model.build(
                num_channels=num_channels, crop_size=trained.crop_size, num_classes=num_classes
            ),
            schedule=plain.ScheduleSettings(num_steps=num_steps, **self.schedule.model_dump()),
            global_batch=trained.global_batch,
            intensity_scale=intensity_scale,
            loss=LossSettings(alpha=self.loss.alpha, fourier_mode=self.loss.fourier),
            optimizer=plain.OptimizerSettings(**self.optimizer.model_dump()),
            guards=plain.GuardSettings(**self.guards.model_dump()),
            ema_decay=self.ema_decay,
            micro_batch=trained.micro_batch,
            precision=precision,
            compile_blocks=trained.compile,
            recompute=self.recompute,
            parallel=self.parallel,
            checkpoint_every_steps=self.checkpoint_every_steps,
            keep_checkpoints=self.keep_checkpoints,
            validate_every_steps=self.validate_every_steps,
            log_every_steps=trained.log_every_steps,
            seed=self.seed,
            config_digest=fingerprint(self),
        )
