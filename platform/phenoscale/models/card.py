"""The model card of an encoder: card.md, for a person who finds the folder without its history."""

from pathlib import Path

from phenoscale.schema.encoders import CARD_FILE, PIXEL_STATISTICS, EncoderConfig
from phenoscale.storage import write_atomic


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
    if config.architecture == "pixel_statistics":
        return "None: this is the baseline without weights."
    if not config.is_trained:
        return f"None: the weights are as drawn from seed {config.seed}. A control, not a model."
    trimmed = ""
    if config.trimmed_from is not None:
        trimmed = (
            f" Trimmed afterwards: blocks 0 to {config.num_blocks - 1} of {config.trimmed_from} are kept."
        )
    return f"Trained on {config.num_training_crops:,} crops, seed {config.seed}.{trimmed}"


def _input(config: EncoderConfig) -> str:
    steps = f"Raw intensities are divided by {config.intensity_scale:g}"
    if config.standardize:
        steps += ", then each crop and channel is standardized on its own: (x - mean) / sqrt(variance + 1e-5)"
    return (
        f"Crops of {config.crop_size} x {config.crop_size} px; channels in this order: "
        f"{', '.join(config.channels)}. {steps}. All of this happens inside the encoder: "
        "give it raw intensities, not normalized ones."
    )


def _output(config: EncoderConfig) -> str:
    if config.architecture == "pixel_statistics":
        return f"{config.embedding_dim} values: per channel {', '.join(PIXEL_STATISTICS)}."
    norm = "with" if config.apply_final_norm else "without"
    return (
        f"{config.embedding_dim} values: the mean of the patch tokens after block {config.chosen_block} "
        f"(0-based), {norm} the final LayerNorm, computed in {config.precision}."
    )
