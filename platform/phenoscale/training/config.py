"""Settings of `pretrain`, as a user writes them; the loop gets plain dataclasses made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from phenoscale.config import Config, Runtime, fingerprint, location, runtime, setting

if TYPE_CHECKING:
    from phenoscale.models.mae import MaskedAutoencoderConfig
    from phenoscale.training.settings import Precision, TrainingSettings


DecayRate = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Config):
    """The masked autoencoder: a named size, and what is different from it."""

    size: str = setting("S/16", help="tiny or small (64 px crops, for a laptop), or S/16, S/8, B/16, ... G/8")
    patch_size: int | None = setting(
        None, ge=1, help="height and width of a patch, in pixels; default: the size's"
    )
    embedding_dim: int | None = setting(None, ge=4, help="length of an embedding; default: the size's")
    num_blocks: int | None = setting(
        None, ge=1, help="transformer blocks of the encoder; default: the size's"
    )
    num_heads: int | None = setting(None, ge=1, help="attention heads of the encoder; default: the size's")
    mlp_ratio: float | None = setting(
        None, gt=0, help="hidden over outer width of an MLP; default: the size's"
    )
    decoder_dim: int | None = setting(None, ge=4, help="width of the decoder; default: the size's")
    decoder_blocks: int | None = setting(
        None, ge=1, help="transformer blocks of the decoder; default: the size's"
    )
    decoder_heads: int | None = setting(
        None, ge=1, help="attention heads of the decoder; default: the size's"
    )
    mask_ratio: float = setting(
        0.75, gt=0, lt=1, help="fraction of the patches that the encoder does not see"
    )
    drop_path_rate: float | None = setting(
        None, ge=0, lt=1, help="stochastic depth of the last block; default: the size's"
    )

    def build(self, *, num_channels: int, crop_size: int | None) -> MaskedAutoencoderConfig:
        """The full description of the model for a number of channels.

        Raises:
            UserError: no such size, or dimensions that do not fit together.
        """
        from phenoscale.models.families import model_config

        given = {**self.model_dump(exclude={"size"}), "crop_size": crop_size}
        changes = {name: value for name, value in given.items() if value is not None}
        return model_config("mae", size=self.size, num_channels=num_channels, **changes)


class LossConfig(Config):
    """(1 - alpha) * masked mean squared error + alpha * Fourier loss."""

    alpha: float = setting(0.01, ge=0, le=1, help="weight of the Fourier loss")
    fourier: Literal["per_patch", "legacy"] = setting(
        "per_patch", help="transform each patch (the paper), or as the released code does"
    )


class OptimizerConfig(Config):
    """The optimizer; weight decay acts on matrices only, not on biases, norms, positions or single tokens."""

    name: Literal["lion", "adamw", "sgd"] = setting("lion", help="lion, adamw, or sgd (plain, no momentum)")
    learning_rate: float = setting(1e-4, gt=0, help="learning rate at the end of the warm-up")
    betas: tuple[DecayRate, DecayRate] = setting(
        (0.9, 0.95), help="decay rates of lion's and adamw's averages"
    )
    weight_decay: float = setting(0.05, ge=0, help="decoupled weight decay of matrices")


class ScheduleConfig(Config):
    """Linear warm-up, then half a cosine to zero."""

    warmup_fraction: float = setting(0.1, ge=0, lt=1, help="fraction of all steps in which the rate rises")


class GuardConfig(Config):
    """When to warn and when to stop."""

    divergence_factor: float = setting(
        4.0, gt=1, help="stop when the smoothed loss exceeds its lowest value by this factor"
    )
    plateau_records: int = setting(
        50, ge=0, help="say so when the smoothed loss has not improved over so many log records; 0: never"
    )
    early_stop_patience: int = setting(
        0, ge=0, help="stop after so many validations without improvement; 0: never"
    )


class PretrainConfig(Config):
    """Train an encoder on the crops of a manifest: a masked autoencoder that restores hidden patches.

    Killed or preempted, the same command goes on from the newest checkpoint, with the same result to the
    last bit (on the same processors). Any number of processes gives the same training, up to rounding.
    """

    manifest: str = location("", help="manifest folder, the output of `curate`")
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    guards: GuardConfig = GuardConfig()
    crop_size: int | None = setting(
        None, ge=1, help="height and width of a crop, in pixels; default: the model size's"
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
    runtime: Runtime = Runtime()

    def settings(
        self, *, num_fields: int, num_channels: int, intensity_scale: float, precision: Precision
    ) -> TrainingSettings:
        """What the training loop gets.

        Args:
            num_fields: training fields of the manifest: crops of one epoch.
            num_channels: channels of the crops.
            intensity_scale: what raw intensities are divided by before self-standardization.
            precision: the precision that `auto` stands for here.
        """
        from phenoscale.training import settings as plain

        num_steps = self.num_steps or max(1, round(self.num_epochs * num_fields / self.global_batch))
        return plain.TrainingSettings(
            model=self.model.build(num_channels=num_channels, crop_size=self.crop_size),
            schedule=plain.ScheduleSettings(
                num_steps=num_steps, warmup_fraction=self.schedule.warmup_fraction
            ),
            global_batch=self.global_batch,
            intensity_scale=intensity_scale,
            loss=plain.LossSettings(alpha=self.loss.alpha, fourier_mode=self.loss.fourier),
            optimizer=plain.OptimizerSettings(**self.optimizer.model_dump()),
            guards=plain.GuardSettings(**self.guards.model_dump()),
            micro_batch=self.micro_batch,
            precision=precision,
            compile_blocks=self.compile,
            checkpoint_every_steps=self.checkpoint_every_steps,
            keep_checkpoints=self.keep_checkpoints,
            validate_every_steps=self.validate_every_steps,
            log_every_steps=self.log_every_steps,
            seed=self.seed,
            config_digest=fingerprint(self),
        )
