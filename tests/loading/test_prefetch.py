"""The thread that works ahead: in order, bounded, honest about errors, and gone afterwards."""

import threading

import pytest

from phenoscale.loading.prefetch import Prefetcher


def running(label):
    return [thread for thread in threading.enumerate() if thread.name == label]


def test_items_come_in_order_and_the_thread_ends():
    with Prefetcher(range(50), depth=3, label="in order") as ahead:
        assert list(ahead) == list(range(50))
    assert running("in order") == []


def test_no_more_items_are_made_than_fit_ahead():
    made = []
    third = threading.Event()

    def items():
        for number in range(100):
            made.append(number)
            if number == 3:
                third.set()
            yield number

    with Prefetcher(items(), depth=2, label="bounded") as ahead:
        assert next(ahead) == 0
        third.wait(timeout=10)
        # one taken, two in the queue, one in the thread's hands
        assert len(made) == 4


def test_an_error_in_the_thread_is_raised_in_its_place_in_the_caller():
    def items():
        yield 1
        raise ValueError("the second item is broken")

    with Prefetcher(items(), depth=4, label="broken") as ahead:
        assert next(ahead) == 1
        with pytest.raises(ValueError, match="the second item is broken"):
            next(ahead)
        assert list(ahead) == []
    assert running("broken") == []


def test_the_time_that_the_caller_waits_is_counted():
    asked = threading.Event()

    def items():
        asked.wait(timeout=10)
        yield 1

    with Prefetcher(items(), depth=2, label="awaited") as ahead:
        assert ahead.waited_seconds == 0
        threading.Timer(0.05, asked.set).start()
        assert next(ahead) == 1
        assert ahead.waited_seconds > 0


def test_leaving_early_stops_an_endless_source():
    def endless():
        while True:
            yield 0

    with Prefetcher(endless(), depth=2, label="endless") as ahead:
        next(ahead)
    assert running("endless") == []
    ahead.close()
    assert list(ahead) == []
