"""A stage's MLflow run: parameters, curves, figures, inputs and lineage, nested under the pipeline's run.

    with open_tracker(runtime, stage="pretrain", tags={"pipeline": "full"}) as tracker:
        tracker.log_params(config)
        run_pretrain(config, observe=tracker.log_metrics)

Calls return at once: `outbox.py` delivers them, so a server that is away costs a warning and not the
training. When Kubeflow's MLflow plugin injects MLFLOW_RUN_ID, that run is resumed instead of a new one being
made.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenoscale.errors import RetryError
from phenoscale.tracking.lineage_tags import lineage_metrics, lineage_tags
from phenoscale.tracking.outbox import Outbox, OutboxTimes
from phenoscale.tracking.server import connect, experiment_id, is_local, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    from phenoscale.config import Runtime

PARENT_TAG = "mlflow.parentRunId"
MAX_PARAM_LENGTH = 500
MAX_TAG_LENGTH = 5000
_MAX_KEY_LENGTH = 250
_MAX_DIGEST_LENGTH = 36
_MAX_PARAMS_PER_CALL = 100


class Tracker:
    """One MLflow run that is being written to."""

    def __init__(
        self, runtime: Runtime, *, name: str, tags: Mapping[str, str], times: OutboxTimes | None = None
    ) -> None:
        self._runtime = runtime
        self._client: MlflowClient = connect(runtime)
        self._run_id = ""
        self.uri = tracking_uri(runtime)
        self._outbox = Outbox(address=self.uri, send_metrics=self._send_metrics, times=times)
        if is_local(self.uri):
            self._start(name, tags)
        else:
            self._outbox.put(lambda: self._start(name, tags))

    @property
    def run_id(self) -> str:
        """The id of the MLflow run; empty when the tracking server has been away from the start."""
        if not self._run_id:
            self._outbox.flush(timeout_seconds=5.0)
        return self._run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a (nested) mapping as parameters: `model.embedding_dim`; lists as JSON, long values cut."""
        entries = [(_key(key), _cut(text, MAX_PARAM_LENGTH)) for key, text in flatten(params).items()]
        for start in range(0, len(entries), _MAX_PARAMS_PER_CALL):
            chunk = entries[start : start + _MAX_PARAMS_PER_CALL]
            self._outbox.put(lambda chunk=chunk: self._send_params(chunk))  # type: ignore[misc]

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log numbers of one step; the signature is that of a stage's observer."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._outbox.put_metrics(
            [Metric(_key(key), float(value), now, int(step)) for key, value in metrics.items()]
        )

    def log_figure(self, path: Path | str) -> None:
        """Log an image or HTML file under `figures/`."""
        self.log_artifact(path, folder="figures")

    def log_artifact(self, path: Path | str, *, folder: str = "") -> None:
        """Log a file as an artifact of the run."""
        self._outbox.put(lambda: self._client.log_artifact(self._run_id, str(path), folder or None))

    def log_dataset(self, name: str, *, digest: str, uri: str, context: str) -> None:
        """Record an input of the run as an MLflow data set, by its digest."""
        self._outbox.put(lambda: self._send_dataset(name, digest=digest, uri=uri, context=context))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        texts = {_key(key): _cut(str(value), MAX_TAG_LENGTH) for key, value in tags.items()}
        self._outbox.put(lambda: self._send_tags(texts))

    def log_lineage(self, file: Path | str) -> None:
        """Mirror a stage's lineage.json: tags, input data sets, the summary's numbers, the file itself."""
        lineage = json.loads(Path(file).read_text(encoding="utf-8"))
        self.set_tags(lineage_tags(lineage))
        for name, entry in lineage.get("inputs", {}).items():
            self.log_dataset(
                name, digest=entry["digest"], uri=entry["uri"], context=entry.get("stage") or "input"
            )
        self.log_metrics(0, lineage_metrics(lineage))
        self.log_artifact(file)

    def close(self, status: str = "FINISHED") -> None:
        """End the run with MLflow's word for how it went: FINISHED, FAILED or KILLED."""
        self._outbox.put(lambda: self._client.set_terminated(self._run_id, status))
        self._outbox.close()

    def leave(self) -> None:
        """Deliver what waits and stop writing, without ending the run."""
        self._outbox.close()

    def _start(self, name: str, tags: Mapping[str, str]) -> None:
        resumed = injected_run_id(self._runtime)
        if resumed:
            self._client.update_run(resumed, status="RUNNING")
            self._run_id = resumed
            self._send_tags({_key(key): _cut(value, MAX_TAG_LENGTH) for key, value in tags.items()})
            return
        experiment = experiment_id(self._client, self._runtime)
        parent = {PARENT_TAG: self._runtime.parent_run_id} if self._runtime.parent_run_id else {}
        run = self._client.create_run(experiment, tags={**tags, **parent}, run_name=name)
        self._run_id = str(run.info.run_id)

    def _send_metrics(self, metrics: Sequence[Metric]) -> None:
        self._client.log_batch(self._run_id, metrics=metrics)

    def _send_params(self, entries: Sequence[tuple[str, str]]) -> None:
        """A resumed run keeps its first values: MLflow's parameters cannot be overwritten."""
        from mlflow.entities import Param

        known = self._client.get_run(self._run_id).data.params
        fresh = [Param(key, text) for key, text in entries if key not in known]
        changed = {f"changed.{key}": text for key, text in entries if known.get(key, text) != text}
        self._client.log_batch(self._run_id, params=fresh)
        if changed:
            self._send_tags(changed)

    def _send_tags(self, texts: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self._run_id, tags=[RunTag(key, text) for key, text in texts.items()])

    def _send_dataset(self, name: str, *, digest: str, uri: str, context: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": uri, "digest": digest})
        dataset = Dataset(
            name=name, digest=digest[:_MAX_DIGEST_LENGTH], source_type="phenoscale", source=source
        )
        self._client.log_inputs(
            self._run_id, [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])]
        )


@contextmanager
def open_tracker(
    runtime: Runtime,
    *,
    stage: str,
    name: str = "",
    tags: Mapping[str, str] | None = None,
    times: OutboxTimes | None = None,
) -> Iterator[Tracker]:
    """The MLflow run of one stage, ended as FINISHED, FAILED or (interrupted, preempted) KILLED.

    Args:
        runtime: Where runs are kept, the experiment's name, and the parent run to nest under.
        stage: The stage; a tag, and the run's name unless `name` is given.
        name: The run's name in the list of runs.
        tags: Further tags, such as pipeline name, Kubeflow run id.
        times: How patient to be with a server that is away.
    """
    tracker = Tracker(
        runtime, name=name or stage, tags={"stage": stage, **environment_tags(), **(tags or {})}, times=times
    )
    try:
        yield tracker
    except BaseException as error:
        tracker.set_tags({"failure": f"{type(error).__name__}: {error}"})
        tracker.close("KILLED" if isinstance(error, RetryError | KeyboardInterrupt) else "FAILED")
        raise
    tracker.close()


def create_parent_run(runtime: Runtime, *, name: str, tags: Mapping[str, str] | None = None) -> str:
    """Make the run that a pipeline's stages nest under (`runtime.parent_run_id`) and return its id.

    When Kubeflow injects MLFLOW_RUN_ID, that run is the parent. When the tracking server is away the id is
    empty, and the stages' runs then stand alone.
    """
    tracker = Tracker(runtime, name=name, tags={"pipeline": name, **environment_tags(), **(tags or {})})
    run_id = tracker.run_id
    tracker.leave()
    return run_id


def finish_parent_run(runtime: Runtime, *, run_id: str, status: str = "FINISHED") -> None:
    """End the pipeline's run; nothing to do for an empty id."""
    if not run_id:
        return
    client = connect(runtime)
    outbox = Outbox(address=tracking_uri(runtime), send_metrics=lambda _: None)
    outbox.put(lambda: client.set_terminated(run_id, status))
    outbox.close()


def injected_run_id(runtime: Runtime) -> str:
    """The run that Kubeflow made for this step; not if it is the parent under which the step gets its own."""
    run_id = os.environ.get("MLFLOW_RUN_ID", "")
    return "" if run_id == runtime.parent_run_id else run_id


def environment_tags() -> dict[str, str]:
    """What the cluster says about this step, as tags: Kubeflow run id, image digest."""
    known = {"kfp_run_id": "KFP_RUN_ID", "image_digest": "PHENOSCALE_IMAGE_DIGEST"}
    return {tag: os.environ[name] for tag, name in known.items() if os.environ.get(name)}


def flatten(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys; everything that is not a mapping as text, lists as JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, prefix=f"{prefix}{key}."))
        elif isinstance(value, Mapping | list | tuple):
            flat[f"{prefix}{key}"] = json.dumps(value, default=str)
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _key(key: str) -> str:
    """MLflow's keys hold letters, digits and `_-./: ` only."""
    return "".join(sign if sign.isalnum() or sign in "_-./ " else "_" for sign in key)[:_MAX_KEY_LENGTH]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 30]} ... ({len(text)} characters)"
