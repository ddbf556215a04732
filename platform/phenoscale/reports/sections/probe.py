"""The probes: which block of the encoder knows most, beside baselines, confounds and chance."""

from __future__ import annotations

from phenoscale.reports.figures.lines import LinePlot, Reference, Series, draw_lines
from phenoscale.reports.figures.palette import BAD, encoder_color, encoder_label
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import (
    Content,
    Markup,
    explain,
    figure,
    interval,
    join,
    number,
    paragraph,
    plural,
    table,
    tag,
    titled,
)
from phenoscale.reports.probe_rows import BlockCurve, ProbeTaskRows, probe_tasks
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import Row

_FEATURES = {"embedding": "embedding alone", "embedding+confounds": "embedding and confounds together"}


def probe_section(inputs: ReportInputs) -> Section:
    """Accuracy against block for every task, and the numbers as a table."""
    tasks = probe_tasks(inputs.probe_rows)
    body = (
        join([_about(), *(_shown(task, index, tasks=tasks) for index, task in enumerate(tasks))])
        if tasks
        else None
    )
    return Section(
        name="probes",
        title="Linear probes",
        lead="Which block of the encoder knows most about the biology, and is it more than baselines know?",
        body=body,
        absent="No probe rows were given, so accuracies per block are not shown.",
    )


def _about() -> Markup:
    return explain(
        "How this is measured",
        paragraph(
            "The encoder is frozen. The mean of the patch tokens after each block goes into a multinomial "
            "logistic regression with class weights; groups (experiments or plates) are either trained on "
            "or tested on, never both. Balanced accuracy is the mean over classes of the share that is "
            "right, so a rare class counts as much as a frequent one."
        ),
        paragraph(
            "The confound line is the same regression without any image: it sees only which experiment or "
            "plate a well is on. An accuracy says something about cells only where it stands above that "
            "line."
        ),
    )


def _shown(task: ProbeTaskRows, index: int, *, tasks: list[ProbeTaskRows]) -> Markup:
    """A task in full at its first strength; at further ones on demand."""
    is_first = all(other.task != task.task for other in tasks[:index])
    content = _task(task, index)
    name = task.task.replace("_", " ")
    return content if is_first else explain(f"The same for {name} at C = {task.strength:g}", content)


def _task(task: ProbeTaskRows, index: int) -> Markup:
    return join(
        [
            tag("h3", f"Task: {task.task.replace('_', ' ')}", _strength(task)),
            paragraph(_describe(task)),
            *(
                _plot(
                    task, features=features, curves=curves, name=f"probe-{index}-{features.replace('+', '-')}"
                )
                for features, curves in task.curves.items()
                if curves
            ),
            _table(task),
        ]
    )


def _strength(task: ProbeTaskRows) -> Markup:
    return join([" ", tag("span", f"C = {task.strength:g}", class_="pill")])


def _describe(task: ProbeTaskRows) -> str:
    setting = task.setting
    return (
        f"Predict {setting.get('label')} ({setting.get('num_classes')} classes) of a {setting.get('level')}, "
        f"over {plural(int(setting.get('folds', 0)), 'fold')} that keep every {setting.get('group')} "
        "together." + (f" Restricted to {setting['where']}." if setting.get("where") else "")
    )


def _plot(task: ProbeTaskRows, *, features: str, curves: list[BlockCurve], name: str) -> Markup:
    references = []
    if task.chance is not None:
        references.append(Reference("chance", task.chance))
    if task.confounds is not None and task.confounds.value is not None:
        references.append(Reference("confounds alone", task.confounds.value, color=BAD, style="dashdot"))
    num_blocks = max(len(curve.rows) for curve in curves)
    drawn = draw_lines(
        LinePlot(
            name=name,
            alt=f"Balanced accuracy against block for the task {task.task}, {_FEATURES[features]}",
            x_label="block of the encoder, from the input",
            y_label="balanced accuracy",
            tick_labels=[str(block) for block in range(num_blocks)],
        ),
        series=[_series(curve, index) for index, curve in enumerate(curves)],
        references=references,
    )
    caption = titled(
        f"Balanced accuracy per block, {_FEATURES[features]}",
        "Bands are 95 % intervals from resampling groups; a ring marks the block that the encoder was "
        "cut at. Encoders without blocks are level lines.",
    )
    return figure(drawn, caption=caption)


def _series(curve: BlockCurve, index: int) -> Series:
    blocks = curve.blocks
    is_flat = len(blocks) == 1
    chosen = curve.chosen_block
    return Series(
        label=encoder_label(curve.encoder),
        x=[float(block) for block in blocks],
        y=[0.0 if row.value is None else row.value for row in curve.rows],
        low=[row.low for row in curve.rows],
        high=[row.high for row in curve.rows],
        color=encoder_color(curve.encoder, position=index),
        marked=blocks.index(chosen) if chosen in blocks and not is_flat else None,
        is_flat=is_flat,
    )


def _table(task: ProbeTaskRows) -> Markup:
    rows: list[list[Content]] = []
    for features, curves in task.curves.items():
        for curve in curves:
            last = curve.rows[-1]
            rows.append(
                [
                    encoder_label(curve.encoder),
                    _FEATURES[features],
                    *_cells(curve.shown),
                    str(curve.shown.settings["block"]),
                    number(last.value),
                    number(curve.best.value),
                ]
            )
    if task.confounds is not None:
        rows.append(["confounds alone", "no image", *_cells(task.confounds), "", "", ""])
    if task.chance is not None:
        rows.append(["chance", "guessing", number(task.chance), "", "", "", ""])
    header = ["", "features", "accuracy", "95 % interval", "block", "last block", "best block"]
    return table(header, rows, numeric=(2, 3, 4, 5, 6))


def _cells(row: Row) -> list[Content]:
    return [number(row.value), interval(row.low, row.high)]
