"""The training: its curves, and crops as the model restores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from phenoscale.reports.figures.palette import encoder_label
from phenoscale.reports.figures.training import LossView, draw_training
from phenoscale.reports.inputs import ReportInputs, TrainingFacts
from phenoscale.reports.markup import (
    Content,
    Markup,
    card,
    cards,
    duration,
    explain,
    facts,
    figure,
    join,
    percent,
    tag,
    titled,
)
from phenoscale.reports.pictures import reconstruction_gallery
from phenoscale.reports.sections.screen import stain_legend
from phenoscale.reports.sections.section import Section
from phenoscale.reports.training_curves import loss_views, monitors

_MASKED: Final = "A masked autoencoder hides most patches of a crop and learns to restore them."
_LABELLED: Final = "A weakly supervised encoder learns to tell from a crop which perturbation it shows."


def training_section(inputs: ReportInputs) -> Section:
    """Loss curves, what the monitors saw, and the settings that made them, training by training."""
    trainings = {name: training for name, training in inputs.trainings.items() if training.records}
    leads = dict.fromkeys(_LABELLED if _has_labels(training) else _MASKED for training in trainings.values())
    parts = [
        join([_heading(name, among=len(trainings)), _curves(training, name=f"training-{index}")])
        for index, (name, training) in enumerate(trainings.items())
    ]
    return Section(
        name="training",
        title="Training",
        lead=" ".join(leads) or "How the loss fell, and what it took.",
        body=join(parts) if parts else None,
        absent="No training record was given, so loss curves are not shown.",
    )


def reconstruction_section(inputs: ReportInputs, *, num_shown: int) -> Section:
    """Masked crops, what each model made of them, and the originals."""
    kept = {
        name: training.reconstructions
        for name, training in inputs.trainings.items()
        if training.reconstructions is not None
    }
    body = None
    if kept and num_shown:
        # several models share the space of one
        galleries = {
            name: reconstruction_gallery(
                file, num_shown=max(2, num_shown // len(kept)) if num_shown > 1 else 1
            )
            for name, file in kept.items()
        }
        caption = titled(
            "Held-out crops the model never trained on",
            "Left: the patches that it sees. Middle: the hidden patches as it restores them. Right: "
            "the truth. Contrast is that of the original in each row. A blurred but correctly placed "
            "restoration is what a good masked autoencoder makes; single granules cannot be known.",
        )
        parts = [
            join(
                [
                    _heading(name, among=len(galleries)),
                    figure(gallery, caption=caption if index == 0 else None, wide=True),
                ]
            )
            for index, (name, (gallery, _)) in enumerate(galleries.items())
        ]
        channels = next(iter(galleries.values()))[1]
        body = join([stain_legend(channels), *parts])
    return Section(
        name="reconstructions",
        title="Reconstructions",
        lead="Does the model understand what cells look like?",
        body=body,
        absent="No reconstructions were kept by the training, so there are no pictures to show.",
    )


def _heading(name: str, *, among: int) -> Markup | None:
    """Which of several it is; one alone needs no name."""
    return tag("h3", encoder_label(name)) if among > 1 else None


def _has_labels(training: TrainingFacts) -> bool:
    """Whether the training learned from labels: then its records hold no reconstruction error."""
    return not any("mse" in record for record in training.records) and any(
        "accuracy" in record for record in training.records
    )


def _curves(training: TrainingFacts, *, name: str) -> Markup:
    views = loss_views(training)
    what = "classification loss" if _has_labels(training) else "reconstruction loss"
    drawn = draw_training(
        views,
        monitors=monitors(training),
        y_label=what,
        name=name,
        alt=f"Training and validation {what} against {' and '.join(view.x_label for view in views)}",
    )
    return join(
        [
            cards(_headlines(training, views[0])),
            figure(drawn, caption=_caption(training, what=what)),
            _settings(training.settings),
        ]
    )


def _caption(training: TrainingFacts, *, what: str) -> Markup:
    plateau = training.summary.get("plateau_from_step")
    descent = training.summary.get("second_descent_step")
    parts: list[Content] = [tag("b", f"{what.capitalize()}. ")]
    if any("validation_loss" in record for record in training.records):
        parts.append(
            "Validation crops come from plates that training never saw; a validation curve that turns up "
            "while training goes down means that the model memorizes. "
        )
    if plateau is not None:
        parts.append(f"The gray band is a plateau, on which the loss stood still from step {plateau:,}")
        parts.append("; it has not left it. " if descent is None else ". ")
    if descent is not None:
        parts.append(f"The dashed line, step {descent:,}, is where it was seen to fall again. ")
    return join(parts)


def _headlines(training: TrainingFacts, view: LossView) -> list[Markup]:
    shown = []
    if training.encoder is not None and training.encoder.num_training_crops:
        num_steps = int(training.records[-1]["step"])
        note = f"in {num_steps:,} optimizer steps"
        shown.append(card("crops seen", f"{training.encoder.num_training_crops:,}", note=note))
    first, last = view.loss.values[0], view.loss.values[-1]
    shown.append(card("training loss", f"{last:.4f}", note=f"from {first:.4f} at the first record"))
    if view.validation.values:
        best = min(view.validation.values)
        shown.append(card("validation loss", f"{view.validation.values[-1]:.4f}", note=f"best {best:.4f}"))
    speeds = sorted(record["crops_per_second"] for record in training.records if "crops_per_second" in record)
    if speeds:
        notes = ["crops per second, median"]
        shares = sorted(record["mfu"] for record in training.records if "mfu" in record)
        if shares:
            notes.append(f"{percent(shares[len(shares) // 2], digits=1)} of the peak")
        shown.append(card("throughput", f"{speeds[len(speeds) // 2]:,.0f}", note="; ".join(notes)))
    spent = training.cpu_seconds
    if spent is not None:
        shown.append(card("processor time", duration(spent), note="of all processes together"))
    return shown


def _settings(settings: Mapping[str, Any]) -> Markup | None:
    pairs: list[tuple[str, Content]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            pairs += [
                (f"{name}: {key.replace('_', ' ')}", str(entry))
                for key, entry in value.items()
                if entry is not None
            ]
        elif value is not None and name != "manifest":
            pairs.append((name.replace("_", " "), str(value)))
    return explain("Settings of the training", facts(pairs)) if pairs else None
