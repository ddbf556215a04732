"""Every engine that embeds shards, by name. To add one: a function anywhere, and a line here.

An engine gets shards that nobody has published yet and returns when all are published. In this process it
publishes into `output`; elsewhere it calls `job.run_shard(job, shard)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from phenoscale.errors import UserError
from phenoscale.inference.job import EmbedJob, OpenJob, Shard
from phenoscale.logs import progress
from phenoscale.references import find
from phenoscale.stages import Output

ENGINES: Final[dict[str, str]] = {"in_process": "phenoscale.inference.engines:embed_in_process"}

ShardDone = Callable[[], None]
"""Called whenever one more shard is published."""


class Engine(Protocol):
    """What embeds shards somewhere."""

    def __call__(
        self, job: EmbedJob, opened: OpenJob, *, shards: list[Shard], output: Output, done: ShardDone
    ) -> None:
        """Embed and publish shards."""


def find_engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UserError: there is none.
    """
    if name not in ENGINES:
        raise UserError(f"there is no engine {name!r}; set engine to one of {', '.join(ENGINES)}")
    engine: Engine = find(ENGINES[name])
    return engine


def embed_in_process(
    job: EmbedJob, opened: OpenJob, *, shards: list[Shard], output: Output, done: ShardDone
) -> None:
    """One shard after the other, here."""
    with progress(opened.num_crops(shards), label="embed") as bar:
        for shard in shards:
            opened.publish(shard, output=output, advance=bar.advance)
            done()
