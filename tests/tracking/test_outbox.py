"""Delivery: in order, in batches, patient with a server that is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from phenoscale.tracking.outbox import MAX_METRICS_PER_CALL, Outbox, OutboxTimes, is_final

QUICK = OutboxTimes(
    collect_seconds=0.05, first_retry_seconds=0.02, longest_retry_seconds=0.05, patience_at_end_seconds=0.3
)


class Server:
    """Receives batches; refuses or is away when told so."""

    def __init__(self) -> None:
        self.batches: list[list[Metric]] = []
        self.calls: list[str] = []
        self.away = threading.Event()
        self.attempts = 0

    def receive(self, metrics: Sequence[Metric]) -> None:
        self.attempts += 1
        if self.away.is_set():
            raise ConnectionError("nobody there")
        self.batches.append(list(metrics))


def metrics(count: int, start: int = 0) -> list[Any]:
    return [Metric("loss", float(i), 0, i) for i in range(start, start + count)]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def outbox(server: Server) -> Outbox:
    return Outbox(address="the server", send_metrics=server.receive, times=QUICK)


def test_metrics_travel_in_few_batches_and_arrive_in_order(server: Server, outbox: Outbox) -> None:
    for entry in metrics(2500):
        outbox.put_metrics([entry])
    assert outbox.flush(timeout_seconds=10)
    outbox.close()
    assert [metric.step for batch in server.batches for metric in batch] == list(range(2500))
    assert max(map(len, server.batches)) <= MAX_METRICS_PER_CALL
    assert len(server.batches) < 100


def test_calls_keep_their_place_among_metrics(server: Server, outbox: Outbox) -> None:
    outbox.put_metrics(metrics(2))
    outbox.put(lambda: server.calls.append(f"after {sum(map(len, server.batches))}"))
    outbox.put_metrics(metrics(1, start=2))
    outbox.close()
    assert server.calls == ["after 2"]
    assert sum(map(len, server.batches)) == 3


def test_a_server_that_comes_back_gets_everything_and_is_warned_about_once(
    server: Server, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    server.away.set()
    with caplog.at_level(logging.WARNING, logger="phenoscale"):
        outbox.put_metrics(metrics(10))
        assert not outbox.flush(timeout_seconds=0.3)
        assert server.attempts > 1
        server.away.clear()
        assert outbox.flush(timeout_seconds=10)
        outbox.close()
    assert [metric.step for batch in server.batches for metric in batch] == list(range(10))
    assert [record.message.split("(")[0] for record in caplog.records] == [
        "tracking server the server is away "
    ]


def test_a_server_that_stays_away_ends_in_one_count_of_what_was_lost(
    server: Server, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    server.away.set()
    with caplog.at_level(logging.WARNING, logger="phenoscale"):
        outbox.put_metrics(metrics(7))
        outbox.close()
    assert len(caplog.records) == 2
    assert caplog.records[-1].message.startswith("7 tracking entries were not delivered to the server")


def test_a_refused_call_is_dropped_with_one_warning_and_the_rest_goes_on(
    server: Server, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> None:
        raise MlflowException.invalid_parameter_value("no such key")

    with caplog.at_level(logging.WARNING, logger="phenoscale"):
        outbox.put(refused)
        outbox.put(refused)
        outbox.put_metrics(metrics(1))
        outbox.close()
    assert len(server.batches) == 1
    assert [record.message for record in caplog.records] == [
        "the server refused a tracking entry: no such key"
    ]


def test_only_answers_that_cannot_change_are_final() -> None:
    assert is_final(MlflowException.invalid_parameter_value("bad"))
    assert is_final(FileNotFoundError("figure.png"))
    assert not is_final(MlflowException("API request failed"))
    assert not is_final(ConnectionError("away"))
