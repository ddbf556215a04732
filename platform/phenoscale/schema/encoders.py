"""What an encoder is: the frozen description that travels with its weights as config.json."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phenoscale.errors import UserError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "encoder.safetensors"
CARD_FILE = "card.md"
FORMAT_VERSION = 1
PIXEL_STATISTICS = ("mean", "std", "minimum", "maximum", "median")

Architecture = Literal[
    "vit", "channel_agnostic_vit", "mu_net", "densenet", "timm", "random_vectors", "pixel_statistics"
]
BlockStyle = Literal["standard", "parallel"]
Pooling = Literal[
    "mean_patch_tokens", "class_token", "channel_means", "spatial_mean", "neck", "statistics", "none"
]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Everything needed to rebuild an encoder and to feed it, besides its weights.

    Attributes:
        architecture: kind of network; `pixel_statistics` and `random_vectors` are baselines without weights.
        channels: stain names in the order in which the encoder reads them; a channel-agnostic one was trained
            with them and reads any.
        crop_size: height and width of the crop that the encoder reads, in pixels.
        patch_size: height and width of one token's patch, in pixels.
        embedding_dim: length of one embedding.
        num_blocks: transformer blocks that are kept in the weights.
        block: the chosen block, 0-based from the input; None means the last one.
        apply_final_norm: whether the final LayerNorm is applied to the tokens before they are pooled.
        intensity_scale: what raw intensities are divided by before self-standardization.
        num_training_crops: crops seen in training, 0 for an untrained encoder.
        trimmed_from: number of blocks before later ones were dropped; None if never trimmed.
        legacy_bias_order: run the parallel block as the released weights need it (science.md 11.1).
        max_channels: the most channels that a channel-agnostic encoder reads.
        timm_model: name of the backbone in timm; of a DenseNet, in `densenet_encoder.DENSE_SIZES`.
        input_size: crops are resized to this before the backbone, in pixels; None leaves them as they are.
        widths: channels of each stage of a MU-Net's encoder.
        neck_dim: length of the output of a convolutional network's neck, which is its embedding.
        ghost_batch: batch-norm statistics come from groups of so many crops of the minibatch (AdaBN): such an
            encoder needs minibatches of one plate; None means that every crop is embedded on its own.
        license: of the weights, as a name or in words; empty when they are the user's own.
    """

    architecture: Architecture
    channels: tuple[str, ...]
    crop_size: int
    embedding_dim: int
    intensity_scale: float
    patch_size: int = 8
    num_blocks: int = 1
    num_heads: int = 1
    mlp_ratio: float = 4.0
    block_style: BlockStyle = "standard"
    qk_norm: bool = False
    layer_scale_init: float | None = None
    block: int | None = None
    pooling: Pooling = "mean_patch_tokens"
    apply_final_norm: bool = False
    standardize: bool = True
    precision: Precision = "fp32"
    is_trained: bool = False
    num_training_crops: int = 0
    seed: int = 0
    trimmed_from: int | None = None
    legacy_bias_order: bool = False
    max_channels: int | None = None
    timm_model: str | None = None
    input_size: int | None = None
    widths: tuple[int, ...] = ()
    neck_dim: int | None = None
    ghost_batch: int | None = None
    license: str = ""

    def __post_init__(self) -> None:
        problems = _violations(self)
        if problems:
            raise UserError(f"this encoder config is not valid: {'; '.join(problems)}; correct {CONFIG_FILE}")

    @property
    def chosen_block(self) -> int:
        """The block whose embedding is read, with None resolved to the last block."""
        return self.num_blocks - 1 if self.block is None else self.block

    @property
    def num_tokens(self) -> int:
        """Patch tokens of one crop (the class token is not counted)."""
        return (self.crop_size // self.patch_size) ** 2

    def describe(self) -> str:
        """The architecture in a few words, for log lines and error messages."""
        names = ", ".join(self.channels)
        crops = f"{self.crop_size} px crops of {len(self.channels)} channels ({names})"
        transformer = (
            f"{self.num_blocks} {self.block_style} blocks, dimension {self.embedding_dim}, "
            f"{self.num_heads} heads, {self.patch_size} px patches"
        )
        words = {
            "vit": f"ViT of {transformer}",
            "channel_agnostic_vit": f"ViT for up to {self.max_channels} channels, {transformer}",
            "mu_net": f"MU-Net of widths {'/'.join(map(str, self.widths))}",
            "densenet": f"{self.timm_model} with a neck of {self.neck_dim}",
            "timm": f"{self.timm_model}, {self.num_blocks} blocks, dimension {self.embedding_dim}",
            "random_vectors": f"random vectors of dimension {self.embedding_dim}",
            "pixel_statistics": "pixel statistics",
        }
        return f"{words[self.architecture]}, {crops}"


def _violations(config: EncoderConfig) -> list[str]:
    rules = {
        "channels must name at least one stain, each once": (
            len(config.channels) > 0 and len(set(config.channels)) == len(config.channels)
        ),
        f"intensity_scale must be positive, got {config.intensity_scale}": config.intensity_scale > 0,
        f"crop_size must be positive, got {config.crop_size}": config.crop_size > 0,
        f"block must be one of 0 to {config.num_blocks - 1}, got {config.block}": (
            0 <= config.chosen_block < config.num_blocks
        ),
        **_rules_of_architecture(config),
    }
    return [rule for rule, holds in rules.items() if not holds]


def _rules_of_architecture(config: EncoderConfig) -> dict[str, bool]:
    """What only some architectures need, in words, and whether it holds."""
    if config.architecture == "pixel_statistics":
        expected = len(PIXEL_STATISTICS) * len(config.channels)
        return {
            f"embedding_dim must be {expected}, five per channel, got {config.embedding_dim}": (
                config.embedding_dim == expected
            )
        }
    if config.architecture in ("vit", "channel_agnostic_vit"):
        return _transformer_rules(config)
    return {
        "mu_net": {
            f"widths must name at least two stages, got {config.widths}": len(config.widths) > 1,
        },
        "densenet": {
            "neck_dim must be given": config.neck_dim is not None,
            "timm_model must be given": config.timm_model is not None,
        },
        "timm": {"timm_model must be given": config.timm_model is not None},
        "random_vectors": {},
    }[config.architecture]


def _transformer_rules(config: EncoderConfig) -> dict[str, bool]:
    num_parts = len(config.channels) if config.pooling == "channel_means" else 1
    dim = config.embedding_dim // num_parts
    rules = {
        f"patch_size {config.patch_size} must divide crop_size {config.crop_size}": (
            config.patch_size > 0 and config.crop_size % config.patch_size == 0
        ),
        f"num_heads {config.num_heads} must divide the dimension of a token, {dim}": (
            config.num_heads > 0 and dim % config.num_heads == 0
        ),
        f"the dimension of a token must be a multiple of 4 (2-D positions), got {dim}": dim % 4 == 0,
    }
    if config.architecture == "channel_agnostic_vit":
        rules[f"max_channels must be at least {len(config.channels)}, got {config.max_channels}"] = (
            config.max_channels is not None and config.max_channels >= len(config.channels)
        )
    return rules


def encoder_folder(path: str | Path) -> Path:
    """The folder that holds config.json: `path` itself, or `path/encoder` when a stage's output is given.

    Raises:
        UserError: neither holds an encoder.
    """
    folder = Path(path)
    for candidate in (folder, folder / "encoder"):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    raise UserError(
        f"{folder} holds no encoder: an encoder is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}; "
        "give the encoder folder that `pretrain`, `import` or `probe` wrote"
    )


def read_encoder_config(path: str | Path) -> EncoderConfig:
    """Parse the config.json of an encoder folder.

    Raises:
        UserError: no encoder there, unreadable JSON, unknown or missing fields, or a value of a wrong kind.
    """
    file = encoder_folder(path) / CONFIG_FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{file} is not readable JSON ({error}); copy the encoder folder again") from error
    return parse_encoder_config(data, source=str(file))


def parse_encoder_config(data: Any, *, source: str) -> EncoderConfig:
    """Turn the decoded JSON of an encoder into an EncoderConfig, or say everything that is wrong with it."""
    if not isinstance(data, Mapping):
        raise UserError(
            f"{source} must hold a JSON object, not a {type(data).__name__}; copy the encoder again"
        )
    version = data.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise UserError(
            f"{source} has format_version {version}, but this phenoscale reads version {FORMAT_VERSION}; "
            "use the phenoscale that wrote the encoder, or train it again"
        )
    fields = {field.name: field for field in dataclasses.fields(EncoderConfig)}
    values = {name: value for name, value in data.items() if name != "format_version"}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    hints = typing.get_type_hints(EncoderConfig)
    problems = [f"unknown field {name!r}" for name in sorted(values.keys() - fields.keys())]
    problems += [f"missing field {name!r}" for name in sorted(required - values.keys())]
    for name in sorted(values.keys() & fields.keys()):
        if not _matches(values[name], hints[name]):
            problems.append(f"{name} must be {_spell(hints[name])}, got {values[name]!r}")
    if problems:
        raise UserError(f"{source}: {'; '.join(problems)}; use the config.json written beside the weights")
    parsed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return EncoderConfig(**parsed)


def _matches(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(_matches(item, arguments[0]) for item in value)
    if arguments:
        return any(_matches(value, argument) for argument in arguments)
    if hint is type(None):
        return value is None
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    return isinstance(value, (int, float)) if hint is float else isinstance(value, hint)


def _spell(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(repr(argument) for argument in arguments)
    if origin is tuple:
        return "a list of names" if arguments[0] is str else "a list of numbers"
    if arguments:
        return " or ".join(_spell(argument) for argument in arguments)
    return "null" if hint is type(None) else str(hint.__name__)


def write_encoder_config(folder: Path, config: EncoderConfig) -> Path:
    """Write config.json into `folder` (made if absent) and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONFIG_FILE
    data = {"format_version": FORMAT_VERSION, **dataclasses.asdict(config)}
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return file


def encoder_digest(path: str | Path) -> str:
    """Digest of what decides an encoder's embeddings: config.json and weights, not its card or its place."""
    folder = encoder_folder(path)
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        digest.update(f"{name}\n".encode())
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
