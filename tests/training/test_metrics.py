"""The record of a training: whole lines, cut back on resume, followed by another thread."""

import json

from phenoscale.training.metrics import (
    TIMINGS,
    MetricsFollower,
    append_record,
    cut_back,
    read_records,
    write_final_records,
)


def records_of(*steps):
    return [{"step": step, "loss": 1.0 / step, "seconds": 0.5} for step in steps]


def write(file, *steps):
    for record in records_of(*steps):
        append_record(file, record)


def test_records_come_back_as_they_were_written(tmp_path):
    write(tmp_path / "logs" / "metrics.jsonl", 1, 2, 3)
    assert read_records(tmp_path / "logs" / "metrics.jsonl") == records_of(1, 2, 3)
    assert read_records(tmp_path / "none.jsonl") == []


def test_record_is_cut_back_to_the_step_from_which_training_goes_on(tmp_path):
    file = tmp_path / "metrics.jsonl"
    write(file, 1, 2, 3, 4)
    assert cut_back(file, step=2) == records_of(1, 2)
    assert read_records(file) == records_of(1, 2)
    write(file, 3)
    assert read_records(file) == records_of(1, 2, 3)


def test_line_that_a_kill_cut_short_is_dropped(tmp_path):
    file = tmp_path / "metrics.jsonl"
    write(file, 1, 2)
    file.write_text(file.read_text() + '{"step": 3, "lo')
    assert read_records(file) == records_of(1, 2)
    assert cut_back(file, step=9) == records_of(1, 2)
    write(file, 3)
    assert read_records(file) == records_of(1, 2, 3)


def test_follower_hands_on_each_step_once_though_the_file_is_cut_back_and_grows_again(tmp_path):
    file, seen = tmp_path / "metrics.jsonl", []
    follower = MetricsFollower(file, lambda step, metrics: seen.append((step, metrics["loss"])))
    follower.poll()
    write(file, 1, 2, 3)
    follower.poll()
    follower.poll()
    cut_back(file, step=1)
    write(file, 2, 3)
    follower.poll()
    write(file, 4)
    follower.poll()
    assert seen == [(step, 1.0 / step) for step in (1, 2, 3, 4)]


def test_follower_waits_for_the_end_of_a_line(tmp_path):
    file, seen = tmp_path / "metrics.jsonl", []
    follower = MetricsFollower(file, lambda step, metrics: seen.append(step))
    file.write_text('{"step": 1}\n{"st')
    follower.poll()
    assert seen == [1]
    file.write_text('{"step": 1}\n{"step": 2}\n')
    follower.poll()
    assert seen == [1, 2]


def test_follower_in_a_thread_has_seen_everything_when_it_ends(tmp_path):
    file, seen = tmp_path / "metrics.jsonl", []
    with MetricsFollower(file, lambda step, metrics: seen.append(step)).following():
        write(file, 1, 2, 3)
    assert seen == [1, 2, 3]


def test_finished_record_has_no_timings(tmp_path):
    kept = {"step": 1, "loss": 2.0, "crops": 8, "flops": 64}
    write_final_records(tmp_path / "metrics.jsonl", [{**kept, **dict.fromkeys(TIMINGS, 0.5)}])
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == kept
