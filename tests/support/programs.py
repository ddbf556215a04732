"""Programs of this project as real processes that start at once: forked from one that has only imported.

Importing what training needs takes five seconds of a processor, more than most tests then do. Each program is
a process of its own, with its own signals, environment, folder and exit code; the processes that it starts in
its turn (ranks, workers, steps) start as they do for a user.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import weakref
from pathlib import Path

PHENOSCALE = "phenoscale.cli.main:main"
TORCHRUN = "torch.distributed.run:main"

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(  # imports only: a thread would not live on in a fork
    [
        "phenoscale.cli.main",
        "phenoscale.training.session",
        "phenoscale.training.stage",
        "kfp.local",
        "matplotlib.pyplot",
        "mlflow",
        "sklearn.linear_model",
        "torch._dynamo",  # the first step of an optimizer imports it
        "torch.distributed.checkpoint",
        "torch.distributed.run",
    ]
)


class Program:
    """A process that runs a function of no arguments, `module:function`, on a command line.

    Attributes:
        pid: its id.
        returncode: as of `subprocess.Popen`: None while it runs, minus a signal's number if that ended it.
    """

    def __init__(self, program, *arguments, environment=None, folder=None, own_session=False):
        """Start it.

        Args:
            program: PHENOSCALE, TORCHRUN, or another `module:function`.
            arguments: its command line without the name.
            environment: variables besides this process's.
            folder: where it runs.
            own_session: so that everything below it can be reached as its process group.
        """
        self._place = Path(tempfile.mkdtemp(prefix="program-"))
        weakref.finalize(self, shutil.rmtree, self._place, ignore_errors=True)
        self._process = _CONTEXT.Process(
            target=_run,
            args=(program, [str(argument) for argument in arguments]),
            kwargs={
                "place": str(self._place),
                "environment": {**os.environ, **(environment or {})},
                "folder": str(folder or Path.cwd()),
                "own_session": own_session,
            },
        )
        self._process.start()
        self.pid = self._process.pid
        while not (self._place / "stderr").exists() and self.poll() is None:
            time.sleep(0.001)  # from here on it is a program: in its session, with its output

    @property
    def returncode(self):
        return self._process.exitcode

    @property
    def output(self):
        """What it has written to standard output."""
        return (self._place / "stdout").read_text()

    @property
    def errors(self):
        """What it has written to standard error."""
        return (self._place / "stderr").read_text()

    def poll(self):
        """The exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout=None):
        """Wait for its end, or for so many seconds; returns the exit code, None if it still runs."""
        self._process.join(timeout)
        return self.returncode

    def send_signal(self, number):
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it as a power cut would."""
        if self.poll() is None:
            self._process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()


def _run(program, arguments, *, place, environment, folder, own_session):
    if own_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [program, *arguments]
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(place) / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
        setattr(sys, name, open(number, "w", buffering=1, closefd=False))  # noqa: SIM115
    module, _, function = program.partition(":")
    sys.exit(getattr(importlib.import_module(module), function)())
