"""Small tables of well embeddings for tests of mapping and benchmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from phenoscale.schema.addresses import format_address
from phenoscale.schema.embeddings import EmbeddingTable


def make_wells(
    *, num_experiments=2, num_plates=2, num_controls=30, num_genes=6, replicates=4, dimensions=5, seed=0
):
    """Wells of random vectors: `G1` ... and negative controls at random places of 96-well plates."""
    generator = np.random.default_rng(seed)
    rows = []
    for experiment in range(num_experiments):
        for plate in range(num_plates):
            names = ["neg"] * num_controls
            names += [f"G{1 + index % num_genes}" for index in range(num_genes * replicates)]
            for place, name in zip(generator.permutation(96), names, strict=False):
                address = format_address(*divmod(int(place), 12))
                rows.append((f"e{experiment + 1}", f"p{plate + 1}", address, name, name == "neg"))
    frame = pd.DataFrame(rows, columns=["experiment", "plate", "well", "perturbation", "is_negative_control"])
    is_control = frame["is_negative_control"].to_numpy(dtype=bool)
    frame = frame.assign(
        screen="test",
        perturbation_type=np.where(is_control, "control", "crispr"),
        gene=frame["perturbation"].where(~is_control, ""),
        guide=frame["perturbation"] + "_" + (frame.groupby("perturbation").cumcount() % 2 + 1).astype(str),
        is_positive_control=False,
        cell_type="U2OS",
        timepoint_h=48.0,
        num_crops=4,
    )
    vectors = generator.standard_normal((len(frame), dimensions))
    return EmbeddingTable(frame, vectors, "well", encoder="test")


def shifted_by(table, columns, *, length, seed=1):
    """The table with a random shift for each value of the columns."""
    codes = table.frame.groupby(list(columns)).ngroup().to_numpy()
    shifts = length * np.random.default_rng(seed).standard_normal((codes.max() + 1, table.dimensions))
    return table.with_embeddings(table.embeddings + shifts[codes])


def without_controls(table, *, experiment, plate, keep=0):
    """The table with all but `keep` negative controls of one plate removed."""
    frame = table.frame
    on_plate = ((frame["experiment"] == experiment) & (frame["plate"] == plate)).to_numpy(dtype=bool)
    controls = np.flatnonzero(on_plate & frame["is_negative_control"].to_numpy(dtype=bool))
    kept = np.ones(len(frame), bool)
    kept[controls[keep:]] = False
    return table.select(kept)


def in_two_screens(table):
    """The rows twice, as two screens whose experiments, plates and wells have equal names."""
    frames = [table.frame.assign(screen=name) for name in ("one", "two")]
    return replace(
        table,
        frame=pd.concat(frames, ignore_index=True),
        embeddings=np.concatenate([table.embeddings, table.embeddings]),
    )
