"""Settings of `import`: which encoder to make without training it."""

from typing import Literal

from phenoscale.config import Config, Runtime, location, setting


class ImportConfig(Config):
    """Make an encoder without training: the baselines that a trained encoder has to beat.

    `untrained` copies the architecture of another encoder and draws fresh weights from the seed;
    `pixel_statistics` reads five intensity statistics per channel and takes channels, crop size and intensity
    scale from the other encoder.
    """

    source: Literal["untrained", "pixel_statistics"] = setting(
        "untrained", help="untrained (same architecture, fresh weights) or pixel_statistics (no weights)"
    )
    like: str = location(help="encoder folder whose architecture, channels and scale are taken")
    seed: int = setting(0, ge=0, help="seed of the weights of an untrained encoder")
    runtime: Runtime = Runtime()
