"""What holds a training back: the loader only, the model only, and both together, in crops a second.

    python bench/loader.py --config pretrain/mae_b16_rxrx3 --manifest MANIFEST --steps 50 --output loader.json

Without a manifest it draws a small screen and trains the demo's model on it. If both together are as fast
as the slower of the two, reading and training overlap; what is missing from that is what the overlap costs
(on a CPU they share the processors, so their times add up). Each part runs for itself in this process,
after warm-up steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from parts.training_speed import Part, Speed, measure_speed

from phenoscale.config import load_config
from phenoscale.curation.stage import run_curate
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.recipes import find_recipe
from phenoscale.screens.ingest.stage import run_ingest
from phenoscale.screens.simulate.stage import run_simulate
from phenoscale.stages import Output
from phenoscale.training.config import PretrainConfig
from phenoscale.training.ranks import join_ranks
from phenoscale.training.session import build_task, open_labeled_fields

PARTS: tuple[Part, ...] = ("loader", "model", "both")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as place:
        config = _config(options, place=Path(place))
        with join_ranks(options.device) as ranks:
            task = build_task(
                config, labeled=open_labeled_fields(config), output=Output(Path(place) / "run"), ranks=ranks
            )
            speeds = {
                part: measure_speed(
                    task, part=part, num_steps=options.steps, num_warmup_steps=options.warmup_steps
                )
                for part in PARTS
            }
    print(f"{'part':<8}{'crops/s':>10}{'seconds':>10}")
    for part, speed in speeds.items():
        print(f"{part:<8}{speed.crops_per_second:>10.1f}{speed.seconds:>10.2f}")
    if options.output:
        _write(Path(options.output), speeds=speeds, settings=task.settings)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", default="", help="recipe or file of `phenoscale pretrain`")
    parser.add_argument("--manifest", default="", help="manifest folder; none: draw a small screen")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--warmup-steps", type=int, default=2, help="steps before them")
    parser.add_argument("--output", default="", help="JSON file to write")
    return parser.parse_args(arguments)


def _config(options: argparse.Namespace, *, place: Path) -> PretrainConfig:
    if options.manifest:
        recipe = find_recipe(options.config) if options.config else None
        return load_config(PretrainConfig, recipe, flags={"manifest": options.manifest})
    full = config_class(find_pipeline("full"))
    demo = load_config(full, find_recipe("demo_tiny"), flags={"runtime": {"workspace": str(place)}})
    assert demo.simulate is not None, "the demo draws its screen"
    plates = run_simulate(demo.simulate.model_copy(update={"runtime": demo.runtime}))
    ingest = {"path": str(plates.path), "runtime": demo.runtime}
    store = run_ingest(demo.ingest.model_copy(update=ingest))
    curate = {"stores": [str(store.path)], "runtime": demo.runtime}
    manifest = run_curate(demo.curate.model_copy(update=curate))
    model = load_config(full, find_recipe("demo"), flags={}).pretrain
    return model.model_copy(update={"manifest": str(manifest.path), "runtime": demo.runtime})


def _write(file: Path, *, speeds: dict[Part, Speed], settings: object) -> None:
    report = {
        "machine": {"processors": os.cpu_count(), "kind": platform.processor() or platform.machine()},
        "settings": str(settings),
        "parts": {
            part: {"crops_per_second": speed.crops_per_second, "seconds": speed.seconds}
            for part, speed in speeds.items()
        },
    }
    file.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
