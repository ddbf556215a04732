"""The model card of an encoder: card.md, for a person who finds the folder without its history."""

from pathlib import Path

from phenoscale.files import write_atomic
from phenoscale.schema.encoders import CARD_FILE, PIXEL_STATISTICS, EncoderConfig


def write_card(folder: Path, config: EncoderConfig, *, num_parameters: int) -> Path:
    """Write card.md from what the config knows and return its path."""
    file = folder / CARD_FILE
    write_atomic(file, render_card(config, num_parameters=num_parameters).encode())
    return file


def render_card(config: EncoderConfig, *, num_parameters: int) -> str:
    """The card as Markdown."""
    sections = [
        "# Phenoscale encoder",
        f"{config.describe()[0].upper()}{config.describe()[1:]}. {num_parameters:,} parameters.",
        "## Training",
        _training(config),
        "## Input",
        _input(config),
        "## Output",
        _output(config),
        "## Use",
        "```python\nfrom phenoscale.models.encoder import load_encoder\n\n"
        'embeddings = load_encoder("this/folder").embed(raw_crops)  # [B, C, H, W] -> [B, D]\n```',
        "## Limits",
        "An embedding is not a diagnosis. It carries batch, plate and position effects as well as biology: "
        "correct it on negative controls before comparing wells across experiments, and do not use it on "
        "stains, cell types or microscopes that differ from the training data without a benchmark.",
    ]
    return "\n\n".join(sections) + "\n"


def _training(config: EncoderConfig) -> str:
    if config.architecture in ("pixel_statistics", "random_vectors"):
        return "None: this is a baseline without weights."
    if not config.is_trained:
        return f"None: the weights are as drawn from seed {config.seed}. A control, not a model."
    trimmed = ""
    if config.trimmed_from is not None:
        trimmed = (
            f" Trimmed afterwards: blocks 0 to {config.num_blocks - 1} of {config.trimmed_from} are kept."
        )
    if config.license:
        return f"Elsewhere: released weights, imported from a file.{trimmed}\n\nLicense: {config.license}."
    return f"Trained on {config.num_training_crops:,} crops, seed {config.seed}.{trimmed}"


def _input(config: EncoderConfig) -> str:
    if config.architecture == "random_vectors":
        steps = (
            f"Raw intensities count by their bytes alone; the scale of {config.intensity_scale:g} is not used"
        )
    else:
        steps = f"Raw intensities are divided by {config.intensity_scale:g}"
    if config.standardize:
        steps += ", then each crop and channel is standardized on its own: (x - mean) / sqrt(variance + 1e-5)"
    if config.input_size is not None:
        steps += f", then crops are resized to {config.input_size} px (bicubic, antialiased)"
    names = ", ".join(config.channels)
    channels = f"channels in this order: {names}"
    if config.max_channels is not None:
        channels = f"1 to {config.max_channels} channels, recorded here as {names}"
    companions = ""
    if config.ghost_batch is not None:
        companions = (
            f" Crops are normalized in groups of {config.ghost_batch} (AdaBN): an embedding depends on its "
            "group, which must come from one plate."
        )
    return (
        f"Crops of {config.crop_size} x {config.crop_size} px; {channels}. {steps}. All of this happens "
        f"inside the encoder: give it raw intensities, not normalized ones.{companions}"
    )


def _output(config: EncoderConfig) -> str:
    dim, block = config.embedding_dim, config.chosen_block
    norm = "with" if config.apply_final_norm else "without"
    tokens = f"block {block} (0-based), {norm} the final LayerNorm, computed in {config.precision}."
    return {
        "statistics": f"{dim} values: per channel {', '.join(PIXEL_STATISTICS)}.",
        "none": (
            f"{dim} standard normal values that follow from seed {config.seed} and the digest of the crop's "
            "pixels: the same crop, the same vector; nothing else is known to it."
        ),
        "mean_patch_tokens": f"{dim} values: the mean of the patch tokens after {tokens}",
        "class_token": f"{dim} values: the class token after {tokens}",
        "channel_means": f"{dim} values: each channel's mean of patch tokens, side by side, after {tokens}",
        "spatial_mean": f"{dim} values: the mean over space after block {block} (0-based) of the bottleneck.",
        "neck": f"{dim} values: the output of the neck.",
    }[config.pooling]
