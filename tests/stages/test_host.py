"""Facts about code and machine, found with and without git."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import phenoscale
from phenoscale.stages.host import host_facts, memory_bytes, num_cpus

PROGRAM = "import json; from phenoscale.stages.host import code_facts; print(json.dumps(code_facts()))"


def _code_facts(root, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PHENOSCALE_")}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, "PYTHONPATH": str(root), **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout)


def _copied_library(folder):
    source = Path(phenoscale.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, folder / "phenoscale", ignore=ignored)
    return folder


def _git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_without_git_the_commit_comes_from_the_image_or_is_unknown(tmp_path):
    root = _copied_library(tmp_path)
    assert _code_facts(root, PATH="/nonexistent")["git_commit"] is None
    facts = _code_facts(root, PHENOSCALE_GIT_COMMIT="abc", PHENOSCALE_IMAGE_DIGEST="sha256:1")
    assert (facts["git_commit"], facts["image_digest"], facts["dirty"]) == ("abc", "sha256:1", None)


def test_in_a_checkout_the_commit_is_its_own_and_changes_make_it_dirty(tmp_path):
    root = _copied_library(tmp_path)
    _git(root, "init", "-q")
    # a library that the checkout does not track, such as one in its virtual environment, is not at its commit
    (root / "other").write_text("other")
    _git(root, "add", "other")
    _git(root, "commit", "-q", "-m", "other")
    assert _code_facts(root)["git_commit"] is None
    _git(root, "add", "phenoscale")
    _git(root, "commit", "-q", "-m", "library")
    (root / ".gitignore").write_text("__pycache__\n")
    facts = _code_facts(root)
    assert (facts["git_commit"], facts["dirty"]) == (_git(root, "rev-parse", "HEAD"), False)
    with (root / "phenoscale" / "errors.py").open("a") as file:
        file.write("# changed\n")
    assert _code_facts(root)["dirty"] is True


def test_host_facts_are_those_of_the_system():
    assert num_cpus() == len(os.sched_getaffinity(0))
    with Path("/proc/meminfo").open() as file:
        kilobytes = int(file.readline().split()[1])
    assert memory_bytes() == kilobytes * 1024
    assert host_facts()["python"] == ".".join(map(str, sys.version_info[:3]))
