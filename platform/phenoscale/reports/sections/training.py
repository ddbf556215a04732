"""The training: its course, and what the model restores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phenoscale.reports.figures.training import Curve, draw_training
from phenoscale.reports.markup import Content, Markup, card, cards, explain, facts, figure, join, tag
from phenoscale.reports.material import Material, TrainingFacts
from phenoscale.reports.pictures import reconstruction_gallery
from phenoscale.reports.sections.screen import stain_legend
from phenoscale.reports.sections.section import Section


def training_section(material: Material) -> Section:
    """Loss curves and the settings that made them."""
    training = material.training
    has_records = training is not None and len(training.records) > 0
    return Section(
        name="training",
        title="Training",
        lead="A masked autoencoder hides most patches of a crop and learns to restore them.",
        body=_course(training) if training and has_records else None,
        absent="No training record was given, so loss curves are not shown.",
    )


def reconstruction_section(material: Material, *, num_shown: int) -> Section:
    """Masked crops, what the model made of them, and the originals."""
    training = material.training
    shown = training.reconstructions if training else None
    body = None
    if shown is not None and num_shown:
        gallery, channels = reconstruction_gallery(shown, num_shown=num_shown)
        caption = join(
            [
                tag("b", "Held-out crops the model never trained on. "),
                "Left: the patches that it sees. Middle: the hidden patches as it restores them. Right: "
                "the truth. Contrast is that of the original in each row. A blurred but correctly placed "
                "restoration is what a good masked autoencoder makes; single granules cannot be known.",
            ]
        )
        body = join([stain_legend(channels), figure(gallery, caption=caption, wide=True)])
    return Section(
        name="reconstructions",
        title="Reconstructions",
        lead="Does the model understand what cells look like?",
        body=body,
        absent="No reconstructions were kept by the training, so there are no pictures to show.",
    )


def _course(training: TrainingFacts) -> Markup:
    records = training.records
    loss, validation = _curve(records, "loss"), _curve(records, "validation_loss")
    throughput = _curve(records, "crops_per_second")
    drawn = draw_training(
        loss=loss,
        validation=validation,
        learning_rate=_curve(records, "learning_rate"),
        throughput=throughput if throughput.steps else None,
    )
    caption = join(
        [
            tag("b", "Reconstruction loss. "),
            "Validation crops come from plates that training never saw; a validation curve that turns up "
            "while training goes down means that the model memorizes.",
        ]
    )
    return join(
        [
            cards(_headlines(training, loss=loss, validation=validation, throughput=throughput)),
            figure(drawn, caption=caption),
            _settings(training.settings),
        ]
    )


def _headlines(training: TrainingFacts, *, loss: Curve, validation: Curve, throughput: Curve) -> list[Markup]:
    shown = []
    if training.encoder is not None and training.encoder.num_training_crops:
        shown.append(card("crops seen", f"{training.encoder.num_training_crops:,}", note=_steps(loss)))
    if loss.values:
        first, last = loss.values[0], loss.values[-1]
        shown.append(card("training loss", f"{last:.4f}", note=f"from {first:.4f} at the first record"))
    if validation.values:
        best = min(validation.values)
        shown.append(card("validation loss", f"{validation.values[-1]:.4f}", note=f"best {best:.4f}"))
    if throughput.values:
        ordered = sorted(throughput.values)
        shown.append(
            card("throughput", f"{ordered[len(ordered) // 2]:,.0f}", note="crops per second, median")
        )
    return shown


def _steps(loss: Curve) -> str:
    return f"in {int(loss.steps[-1]):,} optimizer steps" if loss.steps else ""


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


def _curve(records: Sequence[Mapping[str, float]], name: str) -> Curve:
    known = [(record["step"], record[name]) for record in records if record.get(name) is not None]
    return Curve(steps=[step for step, _ in known], values=[float(value) for _, value in known])
