"""Outputs of a whole pipeline without its costs: real stages where they are cheap, real writers everywhere.

Numbers are made up, formats are not: maps, benchmarks, registry and report read what the true stages write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.benchmarks.relations.config import RecallConfig
from phenoscale.benchmarks.stage import run_benchmark
from phenoscale.benchmarks.wells.config import BatchEffectConfig, ConsistencyConfig
from phenoscale.config import Config, Runtime, setting
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.stage import run_map
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep
from phenoscale.mapping.steps.center import CenterScaleStep
from phenoscale.mapping.steps.position import PositionStep
from phenoscale.mapping.steps.tvn import TvnStep
from phenoscale.models.encoder import save_encoder, untrained_encoder
from phenoscale.schema.embeddings import write_embeddings
from phenoscale.schema.encoders import EncoderConfig
from phenoscale.schema.manifest import FunnelStep, Manifest, StoreRef, write_manifest
from phenoscale.schema.maps import write_bare_map
from phenoscale.schema.rows import Row, canonical_setting, write_rows
from phenoscale.screens.store import open_screen
from phenoscale.stages import StageResult, run_stage
from tests.support.null_screens import ScreenSpec, SimulatedScreen, simulate_screen
from tests.support.screens import make_tiny_store

ENCODERS = ("trained", "untrained", "pixel_statistics")
CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito")


class MadeUpConfig(Config):
    """Stands for the config of a stage whose output is made up."""

    seed: int = setting(0, help="seed")
    source: str = setting("", help="what an import imports")
    biology: dict[str, Any] = setting(default_factory=dict, help="what a simulation plants")
    runtime: Runtime = Runtime()


@dataclass(frozen=True)
class Outputs:
    """Folders of the stages of one pipeline."""

    workspace: Path
    simulate: Path
    screen: Path
    manifest: Path
    pretrain: Path
    probe: Path
    embeddings: Mapping[str, Path]
    maps: Mapping[str, Path]
    benchmark: Path

    @property
    def encoder(self) -> Path:
        """The probed encoder."""
        return self.probe / "encoder"

    def report_places(self) -> dict[str, Any]:
        """The locations of a report's config."""
        return {
            "screen": str(self.screen),
            "manifest": str(self.manifest),
            "pretrain": str(self.pretrain),
            "probe": str(self.probe),
            "embeddings": {name: str(place) for name, place in self.embeddings.items()},
            "maps": {name: str(place) for name, place in self.maps.items()},
            "benchmark": str(self.benchmark),
            "oracle": str(self.simulate / "truth" / "latents.parquet"),
            "genes": str(self.simulate / "truth" / "genes.csv"),
        }


def make_pipeline_outputs(workspace: Path, *, num_modules: int = 8, seed: int = 0) -> Outputs:
    """Write the outputs of a pipeline into a workspace."""
    spec = ScreenSpec(num_modules=num_modules, num_unexpressed=24, num_negative_controls=24, seed=seed)
    answer = simulate_screen(replace(spec, num_rows=8, num_columns=12))
    simulate = made_up(workspace, "simulate", build=lambda folder: _write_truth(folder, answer))
    screen = made_up(workspace, "ingest", build=_write_store, inputs={"path": simulate})
    manifest = made_up(
        workspace, "curate", build=lambda folder: _write_manifest(folder, screen), inputs={"stores": [screen]}
    )
    pretrain = made_up(
        workspace,
        "pretrain",
        build=lambda folder: _write_training(folder, seed),
        inputs={"manifest": manifest},
    )
    imported = {
        name: made_up(
            workspace, "import", build=_write_note, inputs={"like": pretrain / "encoder"}, source=name
        )
        for name in ENCODERS[1:]
    }
    probe = made_up(
        workspace,
        "probe",
        build=lambda folder: write_probe(folder, seed=seed),
        inputs={"encoder": pretrain / "encoder", "manifest": manifest, **imported},
    )
    embeddings = {
        name: made_up(
            workspace,
            "embed",
            build=lambda folder, name=name: _write_wells(folder, answer, name=name, seed=seed),
            inputs={"encoder": probe / "encoder", "manifest": manifest},
            source=name,
        )
        for name in ENCODERS
    }
    maps = {name: _map(workspace, place, simulate) for name, place in embeddings.items()}
    return Outputs(
        workspace=workspace,
        simulate=simulate,
        screen=screen,
        manifest=manifest,
        pretrain=pretrain,
        probe=probe,
        embeddings=embeddings,
        maps=maps,
        benchmark=_benchmark(workspace, embeddings, maps=maps, simulate=simulate),
    )


def made_up(
    workspace: Path,
    stage: str,
    *,
    build: Callable[[Path], Mapping[str, Any]],
    inputs: Mapping[str, Any] | None = None,
    source: str = "",
) -> Path:
    """Run `build` as a stage, so that the output has lineage and a commit record, and return its folder."""
    biology = {"num_modules": 8, "effect_strength": 2.5} if stage == "simulate" else {}
    config = MadeUpConfig(source=source, biology=biology, runtime=Runtime(workspace=str(workspace)))
    result: StageResult = run_stage(
        stage,
        entry="phenoscale.schema.rows",
        config=config,
        inputs=inputs or {},
        build=lambda output: build(output.folder),
    )
    return result.path


def _write_truth(folder: Path, answer: SimulatedScreen) -> Mapping[str, Any]:
    truth = folder / "truth"
    truth.mkdir(parents=True, exist_ok=True)
    answer.genes.to_csv(truth / "genes.csv", index=False)
    pd.DataFrame(answer.pairs.pairs, columns=["entity1", "entity2"]).to_csv(truth / "pairs.csv", index=False)
    write_bare_map(truth / "latents.parquet", answer.oracle)
    return {"num_genes": len(answer.genes)}


def _write_store(folder: Path) -> Mapping[str, Any]:
    make_tiny_store(folder, channels=5, num_genes=6)
    return {"num_plates": 4}


def _write_manifest(folder: Path, screen: Path) -> Mapping[str, Any]:
    store = open_screen(screen)
    wells = store.wells
    split = np.where(wells["experiment"] == "E1", "train", "validation")
    fields = pd.DataFrame({"field_id": wells["field_id"], "store": 0, "split": split, "weight": 1.0})
    funnel = (
        FunnelStep(rule="in the stores", setting="", kept=4240, removed=0),
        FunnelStep(rule="quality", setting="not empty, not saturated, in focus", kept=4102, removed=138),
        FunnelStep(rule="negative controls", setting="keep 10 % of each plate's", kept=3310, removed=792),
        FunnelStep(rule="minimum replicates", setting="at least 3 wells", kept=3286, removed=24),
    )
    stores = (StoreRef(uri=str(screen), digest=store.digest),)
    write_manifest(folder, Manifest(stores=stores, channels=store.channels, fields=fields, funnel=funnel))
    return {"num_fields": len(fields)}


def encoder_config(*, is_trained: bool = True, num_training_crops: int = 96_000) -> EncoderConfig:
    """A ViT small enough for tests."""
    return EncoderConfig(
        architecture="vit",
        channels=CHANNELS,
        crop_size=16,
        patch_size=8,
        embedding_dim=16,
        intensity_scale=65535.0,
        num_blocks=4,
        num_heads=2,
        block=2,
        is_trained=is_trained,
        num_training_crops=num_training_crops if is_trained else 0,
    )


def write_encoder(folder: Path, config: EncoderConfig) -> None:
    """Save an encoder with weights drawn from the config's seed."""
    encoder = untrained_encoder(config)
    save_encoder(folder, replace_config(encoder, config))


def replace_config(encoder: Any, config: EncoderConfig) -> Any:
    """The same weights, described by another config."""
    encoder.config = config
    return encoder


def _write_training(folder: Path, seed: int) -> Mapping[str, Any]:
    write_encoder(folder / "encoder", encoder_config())
    rng = np.random.default_rng(seed)
    lines, live = [], []
    for step in range(10, 1510, 10):
        loss = 0.62 + 0.38 * np.exp(-step / 220) + 0.012 * rng.standard_normal()
        rate = 1e-4 * min(step / 150, 0.5 * (1 + np.cos(np.pi * step / 1500)))
        record = {"step": step, "epoch": step / 60, "loss": loss, "learning_rate": rate, "gradient_norm": 1.0}
        if step % 150 == 0:
            record["validation_loss"] = 0.645 + 0.37 * np.exp(-step / 230)
        lines.append(json.dumps(record))
        live.append(json.dumps({**record, "crops_per_second": 410 + 25 * rng.standard_normal()}))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / "metrics.jsonl").write_text("\n".join(live) + "\n")
    _write_reconstructions(folder / "reconstructions.npz", rng)
    return {"num_steps": 1500, "final_loss": 0.62}


def _write_reconstructions(file: Path, rng: np.random.Generator) -> None:
    """Round cells, patches hidden, and a blurred restoration of the hidden ones."""
    size, patch, count = 64, 8, 8
    original = np.stack([_cells(rng, size) for _ in range(count)])
    original -= original.mean(axis=(2, 3), keepdims=True)
    original /= original.std(axis=(2, 3), keepdims=True)
    kernel = np.ones(5) / 5
    blurred = np.apply_along_axis(np.convolve, 2, original, kernel, mode="same")
    blurred = np.apply_along_axis(np.convolve, 3, blurred, kernel, mode="same")
    hidden = rng.random((count, size // patch, size // patch)) < 0.75
    mask = hidden.repeat(patch, 1).repeat(patch, 2)[:, None]
    np.savez_compressed(
        file,
        original=original.astype(np.float16),
        masked=np.where(mask, 0, original).astype(np.float16),
        reconstruction=np.where(mask, blurred, original).astype(np.float16),
        labels=np.array(["negative control"] * 4 + [f"GENE{i:04d}" for i in range(1, 5)]),
        field_ids=np.array([f"field{i}" for i in range(count)]),
        channels=np.array(CHANNELS),
    )


def _cells(rng: np.random.Generator, size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    y, x = np.mgrid[:size, :size]
    image = 0.02 * rng.random((len(CHANNELS), size, size))
    for _ in range(5):
        top, left = rng.uniform(4, size - 4, 2)
        radius = rng.uniform(5, 7)
        distance = np.hypot(y - top, (x - left) * rng.uniform(0.8, 1.2))
        nucleus, body = distance < radius, distance < 1.9 * radius
        image[0] += nucleus * rng.uniform(0.7, 1)
        image[1] += (body & ~nucleus) * (0.4 + 0.4 * rng.random((size, size)))
        image[2] += nucleus * (rng.random((size, size)) < 0.25) + 0.15 * body
        image[3] += np.exp(-((distance - 1.9 * radius) ** 2) / 3)
        image[4] += (body & ~nucleus) * (rng.random((size, size)) < 0.3)
    return image


def write_probe(
    folder: Path, *, seed: int = 0, encoder: EncoderConfig | None = None, accuracy: float = 0.42
) -> Mapping[str, Any]:
    """An output of `probe`: a trimmed encoder, curves over blocks, confounds and chance."""
    write_encoder(folder / "encoder", encoder or encoder_config())
    rng = np.random.default_rng(seed)
    rows = [
        _probe_row("chance", 1 / 13, encoder="", block=None),
        _probe_row("confounds", 0.11, encoder="", block=None, strength=0.01),
        _probe_row("confounds", 0.12, encoder="", block=None, strength=1.0),
    ]
    top = {"trained": accuracy, "untrained": 0.24, "pixel_statistics": 0.19}
    for name, best in top.items():
        num_blocks = 1 if name == "pixel_statistics" else 6
        for features in ("embedding", "embedding+confounds"):
            for strength in (0.01, 1.0):
                for block in range(num_blocks):
                    bend = 1 - 0.035 * (block - 4) ** 2 if num_blocks > 1 else 1.0
                    value = best * bend + 0.006 * rng.standard_normal() + 0.03 * ("+" in features)
                    chosen = (features, strength, block) == ("embedding", 0.01, min(4, num_blocks - 1))
                    rows.append(
                        _probe_row(
                            features, value, encoder=name, block=block, strength=strength, chosen=chosen
                        )
                    )
    write_rows(folder, rows)
    (folder / "probe.json").write_text(json.dumps({"encoders": {}}))
    return {"block": 4}


def _probe_row(
    features: str,
    value: float,
    *,
    encoder: str,
    block: int | None,
    strength: float | None = None,
    chosen: bool = False,
) -> Row:
    setting = canonical_setting(
        block=block,
        chosen=chosen,
        features=features,
        folds=5,
        group="experiment",
        inverse_regularization=strength,
        label="perturbation",
        level="well",
        num_classes=13,
        num_groups=3,
        split="stratified_group_kfold",
        where="",
    )
    ends = (None, None) if features == "chance" else (value - 0.035, value + 0.035)
    return Row(
        "probe",
        "perturbation",
        "balanced_accuracy",
        setting,
        value,
        low=ends[0],
        high=ends[1],
        n=1800,
        encoder=encoder,
    )


def _write_note(folder: Path) -> Mapping[str, Any]:
    (folder / "note.txt").write_text("an encoder without training\n")
    return {}


def _write_wells(folder: Path, answer: SimulatedScreen, *, name: str, seed: int) -> Mapping[str, Any]:
    """The planted wells, under more noise the less the encoder knows."""
    noise = {"trained": 2.0, "untrained": 9.0, "pixel_statistics": 14.0}[name]
    rng = np.random.default_rng([seed, ENCODERS.index(name)])
    table = answer.table
    noisy = table.embeddings + noise * rng.standard_normal(table.embeddings.shape)
    table = replace(table, embeddings=noisy, encoder=name, level="well")
    write_embeddings(folder / "wells", table)
    return {"num_wells": len(table)}


def _map(workspace: Path, embeddings: Path, simulate: Path) -> Path:
    config = MapConfig(
        embeddings=str(embeddings),
        genes=str(simulate / "truth" / "genes.csv"),
        steps=(
            CenterScaleStep(),
            PositionStep(),
            TvnStep(),
            AggregateStep(),
            ArmCorrectionStep(min_num_genes=4),
        ),
        runtime=Runtime(workspace=str(workspace)),
    )
    return run_map(config).path


def _benchmark(
    workspace: Path, embeddings: Mapping[str, Path], *, maps: Mapping[str, Path], simulate: Path
) -> Path:
    config = BenchmarkConfig(
        maps={name: str(place) for name, place in maps.items()},
        embeddings={name: str(place) for name, place in embeddings.items()},
        annotations=(str(simulate / "truth" / "pairs.csv"),),
        oracle=str(simulate / "truth" / "latents.parquet"),
        genes=str(simulate / "truth" / "genes.csv"),
        recall=RecallConfig(num_resamples=100, curve=(0.01, 0.02, 0.1, 0.2)),
        consistency=ConsistencyConfig(num_resamples=20),
        batch_effect=BatchEffectConfig(num_resamples=20, max_wells=400),
        runtime=Runtime(workspace=str(workspace)),
    )
    return run_benchmark(config).path
