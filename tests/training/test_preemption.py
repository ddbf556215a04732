"""SIGTERM: at once outside of the training steps, noted inside."""

import os
import signal
import threading

import pytest

from phenoscale.errors import RetryError
from phenoscale.training.preemption import Preemption


def test_signal_ends_what_is_not_training_at_once():
    with pytest.raises(RetryError, match="run the same command again"), Preemption() as preemption:
        os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.is_requested


def test_signal_is_only_noted_while_training():
    with Preemption() as preemption:
        with preemption.deferred():
            assert not preemption.is_requested
            os.kill(os.getpid(), signal.SIGTERM)
            assert preemption.is_requested
        with pytest.raises(RetryError):
            os.kill(os.getpid(), signal.SIGTERM)


def test_worker_notes_the_signal_while_training_and_leaves_it_alone_otherwise():
    before = signal.getsignal(signal.SIGTERM)
    with Preemption(raises_outside=False) as preemption:
        assert signal.getsignal(signal.SIGTERM) == before
        with preemption.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.is_requested
        assert signal.getsignal(signal.SIGTERM) == before


def test_handler_of_before_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Preemption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_do_without():
    found = []

    def work():
        with Preemption() as preemption:
            found.append(preemption.is_requested)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGTERM) == before
