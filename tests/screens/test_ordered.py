"""Tasks in threads, results in order."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from phenoscale.screens.ordered import in_order


def test_results_come_in_the_order_of_the_tasks():
    def work(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    with ThreadPoolExecutor(4) as executor:
        assert list(in_order(work, range(30), executor=executor, window=5)) == [n * n for n in range(30)]


def test_at_most_a_window_of_results_waits_for_the_caller():
    taken, ahead, lock = 0, [], threading.Lock()

    def tasks():
        for number in range(40):
            with lock:
                ahead.append(number - taken)
            yield number

    with ThreadPoolExecutor(3) as executor:
        for _ in in_order(abs, tasks(), executor=executor, window=6):
            with lock:
                taken += 1
    assert max(ahead) <= 6


def test_an_error_reaches_the_caller_and_later_tasks_are_not_started():
    started = []

    def work(number):
        started.append(number)
        if number == 3:
            raise ValueError("task 3")
        return number

    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="task 3"):
        list(in_order(work, range(100), executor=executor, window=4))
    assert len(started) < 20
