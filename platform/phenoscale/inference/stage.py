"""The `embed` verb: fields and wells of a screen through an encoder, one published shard per plate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phenoscale.config import require
from phenoscale.inference.channels import embedding_length
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.engines import Engine, find_engine
from phenoscale.inference.job import EmbedJob, OpenJob, open_job
from phenoscale.logs import get_logger, key_values
from phenoscale.schema.encoders import encoder_folder
from phenoscale.stages import Observer, Output, StageResult, ignore, run_share, run_stage
from phenoscale.stages.inputs import InputPaths

logger = get_logger(__name__)


def run_embed(config: EmbedConfig, *, observe: Observer = ignore) -> StageResult:
    """Embed fields and wells into `fields/` and `wells/` of the stage's output.

    With `config.shard` this process embeds its share only: it publishes shards of the output that the same
    command without it finds all there, and commits.
    """
    encoder = encoder_folder(require(config, "encoder", verb="embed"))
    engine = find_engine(config.engine)
    if not config.stores:
        require(config, "manifest", verb="embed")

    def build(output: Output) -> Mapping[str, Any]:
        return _build(output, config=config, engine=engine, observe=observe)

    inputs: InputPaths = {"encoder": encoder, "manifest": config.manifest, "stores": config.stores}
    run = run_share if config.shard else run_stage
    return run("embed", entry=__name__, config=config, inputs=inputs, build=build)


def _build(output: Output, *, config: EmbedConfig, engine: Engine, observe: Observer) -> Mapping[str, Any]:
    opened = open_job(config)
    shards = opened.shards
    found = {shard for shard in shards if output.has(shard.part)}
    mine = [shard for shard in shards[config.share] if shard not in found]
    adopted = {
        shard
        for shard in mine
        if output.adopt(shard.part, request=opened.request(shard, sources_digest=output.sources_digest))
    }
    waiting = [shard for shard in mine if shard not in adopted]
    num_done = len(found) + len(adopted)
    if num_done:
        facts = {"embed": "resumed", "shards_found": len(found), "shards_adopted": len(adopted)}
        logger.info("%s", key_values(**facts))

    def done() -> None:
        nonlocal num_done
        num_done += 1
        observe(num_done, {"embed/shards": float(num_done)})

    job = EmbedJob(config.model_copy(update={"shard": ""}), output.address)
    engine(job, opened, shards=waiting, output=output, done=done)
    missing = [shard for shard in waiting if not output.has(shard.part)]
    assert not missing, f"engine {config.engine} left out {missing}"
    counts = {"found": len(found), "adopted": len(adopted), "embedded": len(waiting)}
    return {
        **_summary(opened),
        **{f"num_shards_{name}": count for name, count in counts.items()},
        "num_shards_done": num_done,
    }


def _summary(opened: OpenJob) -> dict[str, Any]:
    config, fields = opened.encoder.config, opened.fields
    return {
        "encoder_digest": opened.encoder_digest,
        "block": config.chosen_block,
        "dimensions": embedding_length(config, num_channels=len(fields.channels)),
        "num_screens": len({shard.plate[0] for shard in opened.shards}),
        "num_shards": len(opened.shards),
        "num_fields": len(fields),
        "num_crops": opened.num_crops(opened.shards),
        "outputs": list(opened.config.outputs),
    }
