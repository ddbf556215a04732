"""Run one stage under an MLflow run of its own: parameters, curves, inputs by digest, figures, lineage.

A stage whose output is there already is returned at once: no run is opened and mlflow is not imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from phenoscale.config import Config, Runtime, resolved
from phenoscale.config.digests import SETTINGS
from phenoscale.distributed import rank
from phenoscale.errors import UserError
from phenoscale.logs import get_logger
from phenoscale.operations.addresses import with_local_inputs
from phenoscale.operations.launchers.table import find_launcher
from phenoscale.stages import StageResult, fetch_output

if TYPE_CHECKING:
    from phenoscale.tracking.tracker import Tracker

_FIGURES: Final = ("figures/*.png", "figures/*.svg", "report.html")

logger = get_logger(__name__)


def execute(
    stage: str, config: Config, *, name: str = "", tags: Mapping[str, str] | None = None
) -> StageResult:
    """Run a stage and track it.

    Args:
        stage: the stage's name, a key of STAGES.
        config: its config; `config.runtime` says where to write and where to track.
        name: the tracked run's name, when it is not the stage's (`embed_trained`).
        tags: further tags of the tracked run.
    """
    config = with_local_inputs(config)
    launch = find_launcher(stage, config)
    with ExitStack() as stack:
        watcher = _Watcher(stack, stage=stage, config=config, name=name, tags=tags or {})
        try:
            result = launch(stage, config, observe=watcher.observe)
        except Exception as error:
            watcher.note_failure(error)
            raise
        if result.digest and not result.reused:
            watcher.record(result)
        return result


class _Watcher:
    """Opens the tracked run when there is something to track, and not before."""

    def __init__(
        self, stack: ExitStack, *, stage: str, config: Config, name: str, tags: Mapping[str, str]
    ) -> None:
        self._stack, self._stage, self._config, self._name, self._tags = stack, stage, config, name, tags
        self._tracker: Tracker | None = None

    def observe(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the numbers of one step."""
        tracker = self.open()
        if tracker is not None:
            tracker.log_metrics(step, metrics)

    def note_failure(self, error: Exception) -> None:
        """Put a failed run on record as such, which happens when the stack unwinds.

        What the user got wrong is said once, on the command line, and leaves no trace in the workspace.
        """
        if isinstance(error, UserError):
            return
        try:
            self.open()
        except Exception as second:
            logger.warning("the failed run of stage %s could not be recorded: %s", self._stage, second)

    def record(self, result: StageResult) -> None:
        """Log what a finished stage leaves: lineage, summary, figures."""
        tracker = self.open()
        if tracker is None:
            return
        folder = fetch_output(result.path)
        tracker.log_lineage(folder / "lineage.json")
        for pattern in _FIGURES:
            for figure in sorted(folder.glob(pattern)):
                tracker.log_figure(figure)

    def open(self) -> Tracker | None:
        """The tracked run; None on a machine without mlflow, and on all ranks of torchrun's but the first."""
        if self._tracker is None and rank() == 0 and importlib.util.find_spec("mlflow") is not None:
            from phenoscale.tracking.tracker import open_tracker

            runtime: Runtime = getattr(self._config, "runtime", Runtime())
            self._tracker = self._stack.enter_context(
                open_tracker(runtime, stage=self._stage, name=self._name, tags=self._tags)
            )
            self._tracker.log_params(resolved(self._config, kinds=SETTINGS))
        return self._tracker
