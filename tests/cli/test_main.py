"""The command line end to end: help, exit codes, answers, interruptions."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from phenoscale.cli.main import split_verb, top_help
from phenoscale.cli.verbs import VERBS
from phenoscale.errors import UserError


def test_the_help_names_every_verb_with_its_summary():
    text = top_help()
    for name, verb in VERBS.items():
        assert f"  {name} " in text and verb.summary in text


def test_the_help_loads_neither_torch_nor_mlflow_nor_pydantic():
    program = (
        "import sys; from phenoscale.cli.main import main; code = main(['--help'])\n"
        "print(sorted({'torch', 'mlflow', 'pydantic', 'numpy', 'rich', 'boto3'} & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_without_a_verb_the_help_is_shown_and_the_exit_code_is_2(command):
    assert command().returncode == 2
    assert command().stdout == command("--help").stdout
    assert command("--help").returncode == 0


def test_a_group_of_verbs_has_a_help_of_its_own(command):
    done = command("run", "--help")
    assert done.returncode == 0 and "run full" in done.stdout and "doctor" not in done.stdout


def test_the_version_is_that_of_the_package(command):
    import importlib.metadata

    assert command("--version").stdout == f"phenoscale {importlib.metadata.version('phenoscale')}\n"


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (["curat"], "unknown verb `curat`; did you mean `curate`?"),
        (["benchmark", "recal"], "unknown verb `benchmark recal`; did you mean `benchmark recall`?"),
        (["run"], "unknown verb `run`; valid: run full"),
        (["xyzzy"], "unknown verb `xyzzy`; valid: simulate, ingest"),
    ],
)
def test_an_unknown_verb_is_refused_with_the_nearest_one(words, way_out):
    with pytest.raises(UserError) as caught:
        split_verb(words)
    assert way_out in str(caught.value)


def test_a_sub_verb_is_found_before_its_verb():
    assert split_verb(["benchmark", "recall", "--map", "m"]) == ("benchmark recall", ["--map", "m"])
    assert split_verb(["benchmark", "--maps", "a=b"]) == ("benchmark", ["--maps", "a=b"])
    assert split_verb(["lineage", "some/path"]) == ("lineage", ["some/path"])


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("user", 2, "phenoscale try: 3 wells, at least 4 are needed; image more\n"),
        ("retry", 75, "phenoscale try: the store is away (please retry)\n"),
        ("full", 75, "No space left on device"),
        ("well", 0, ""),
    ],
)
def test_each_end_has_its_exit_code_and_message_and_no_traceback(command, *, end, code, words):
    done = command("try", "--end", end)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr and (done.stdout == "") == (end != "well")


def test_a_bug_is_one_line_and_a_file_with_the_traceback(command, tmp_path):
    done = command("try", "--end", "bug", "--workspace", "work", "--log-level", "WARNING")
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert "a bug of ours, KeyError: 'wells'" in line
    place = Path(line.rpartition(" ")[2])
    assert (tmp_path / place).parent == tmp_path / "work" / "tracebacks"
    text = (tmp_path / place).read_text()
    assert "Traceback" in text and "run_try" in text


def test_a_bug_outside_of_any_workspace_leaves_its_traceback_in_the_temporary_folder(command, tmp_path):
    (tmp_path / "work").write_text("a file, no folder")
    done = command("try", "--end", "bug", "--workspace", "work")
    assert done.returncode == 70
    (place,) = tmp_path.glob("bug-*.txt")
    assert str(place) in done.stderr


def test_a_wrong_value_is_refused_before_anything_is_done(command):
    done = command("try", "--amount", "0", "--ends", "x")
    assert done.returncode == 2
    assert "unknown option --ends; did you mean --end?" in done.stderr
    done = command("try", "--amount", "0")
    assert done.returncode == 2
    assert "phenoscale try: amount = '0' (flag --amount) must be greater than 0" in done.stderr
    assert "end=" not in done.stderr


def test_a_terminated_run_asks_for_a_retry(start):
    with start("try", "--end", "wait") as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 75
    assert "stopped by SIGTERM; the same command goes on where this one stopped" in errors


def test_an_interrupted_run_ends_as_shells_expect(start):
    with start("try", "--end", "wait") as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors


def test_a_reader_that_leaves_early_is_no_error(start):
    with start("try", "--end", "many") as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in errors and "Broken" not in errors


def test_json_is_alone_on_standard_output_and_the_log_is_not(command):
    done = command("try", "--amount", "7", "--json")
    assert json.loads(done.stdout) == {"end": "well", "amount": 7}
    assert "end=well" in done.stderr


def test_json_stays_alone_when_a_library_prints(command):
    done = command("try", "--end", "chatty", "--json")
    assert json.loads(done.stdout)["end"] == "chatty"
    assert "a library says hello" in done.stderr


def test_an_answer_for_people_is_read_by_lines(command):
    assert command("try").stdout == "end: well\namount: 1\n"


def test_the_log_level_is_chosen_by_its_flag(command):
    assert "end=well" not in command("try", "--log-level", "warning").stderr
    done = command("try", "--log-level", "LOUD")
    assert done.returncode == 2 and "invalid choice: 'LOUD'" in done.stderr


def test_a_config_file_and_flags_fill_one_config_and_flags_win(command, tmp_path):
    (tmp_path / "try.yaml").write_text("end: from file\namount: ${AMOUNT:-4}\n")
    done = command("try", "--config", "try.yaml", "--end", "from flag", "--json")
    assert json.loads(done.stdout) == {"end": "from flag", "amount": 4}


def test_a_config_that_is_neither_file_nor_recipe_is_refused_with_the_recipes(command):
    done = command("try", "--config", "demonstration")
    assert done.returncode == 2 and "neither a file nor a recipe" in done.stderr


def test_the_help_of_a_verb_describes_its_config(command):
    done = command("try", "--help")
    assert done.returncode == 0
    for words in ("Whatever the tests ask for.", "--amount N", "a number (default: 1)", "--workspace"):
        assert words in done.stdout


# dry runs ---------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_a_config_that_can_be_used_and_does_nothing(command, tmp_path):
    (tmp_path / "table.csv").write_text("well\n")
    arguments = ("try", "stage", "--table", "table.csv", "--amount", "5")
    done = command(*arguments, "--dry-run")
    assert done.returncode == 0
    config = yaml.safe_load(done.stdout)
    assert (config["amount"], config["table"]) == (5, "table.csv")
    assert "# plan: try, not cached: would run" in done.stdout
    assert f"# input table: {tmp_path}/table.csv" in done.stdout
    assert not (tmp_path / "phenoscale-workspace").exists()


def _key(output):
    return next(line for line in output.splitlines() if line.startswith("# key: "))


def test_a_dry_run_after_the_run_says_that_the_output_is_there(command, tmp_path):
    before = command("try", "stage", "--dry-run")
    program = "import sys; sys.path.insert(0, '.'); from trying import *; run_try_stage(TryConfig())"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    after = command("try", "stage", "--dry-run")
    assert _key(before.stdout) == _key(after.stdout)
    assert "cached: the output is there and would be reused" in after.stdout


def test_a_dry_run_finds_a_missing_input(command):
    done = command("try", "stage", "--table", "none.csv", "--dry-run")
    assert done.returncode == 2
    assert "# plan: none, an input is wrong" in done.stdout and "none.csv does not exist" in done.stdout


def test_a_dry_run_in_json_holds_config_and_plan(command):
    answer = json.loads(command("try", "stage", "--dry-run", "--json").stdout)
    assert answer["config"]["amount"] == 1
    assert answer["plan"]["is_cached"] is False and len(answer["plan"]["key"]) == 64


def test_a_verb_that_is_no_stage_may_have_a_plan_of_its_own(command):
    done = command("try", "--end", "soon", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2:] == ["# plan:", "# would end soon"]


def test_a_verb_without_plan_says_so(command):
    done = command("doctor", "--dry-run")
    assert "# plan: this verb has no output of its own to plan" in done.stdout


def test_the_installed_command_is_this_one():
    done = subprocess.run(
        [Path(sys.executable).parent / "phenoscale", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert done.stdout == top_help() + "\n"
