"""The `register`, `promote` and `rollback` verbs.

`register` and `promote` change the registry, which is outside of any folder. They write a small stage output
(`registered.json`, `promotion.json`), so that reports and later steps have something to read, but the output
alone never counts as done: before it is reused, the registry is asked whether it still says the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from phenoscale.config import require
from phenoscale.registry.config import PromoteConfig, RegisterConfig, RollbackConfig
from phenoscale.registry.records import Rollback
from phenoscale.stages import Observer, StageResult, discard, ignore, run_stage


def run_register(config: RegisterConfig, *, observe: Observer = ignore) -> StageResult:
    """Register an encoder with its evidence and lineage, and point the alias `candidate` at it.

    Raises:
        UserError: an untrained encoder, one without lineage, or one that fails the null check.
        RetryError: the registry is away.
    """
    from phenoscale.registry.registration import is_registered, register
    from phenoscale.schema.encoders import encoder_folder

    encoder = encoder_folder(require(config, "encoder", verb="register"))
    inputs = {"encoder": str(encoder), "benchmark": config.benchmark, "probe": config.probe}
    run = partial(
        run_stage,
        "register",
        entry="phenoscale.registry.registration",
        config=config,
        inputs=inputs,
        build=partial(register, config=config, encoder=encoder),
    )
    return _unless_outdated(run, still_true=partial(is_registered, config=config))


def run_promote(config: PromoteConfig, *, observe: Observer = ignore) -> StageResult:
    """Make the candidate the champion if every gate holds; the evidence is kept with the version either way.

    Raises:
        UserError: no candidate, or gates that fail (unless `when_refused` is `record`).
        RetryError: the registry is away.
    """
    from phenoscale.registry.promotion import is_promoted, promote

    run = partial(
        run_stage,
        "promote",
        entry="phenoscale.registry.promotion",
        config=config,
        inputs={"candidate": config.candidate},
        build=partial(promote, config=config),
    )
    return _unless_outdated(run, still_true=partial(is_promoted, config=config))


def run_rollback(config: RollbackConfig, *, observe: Observer = ignore) -> Rollback:
    """Point the alias `champion` at the version that held it before.

    Raises:
        UserError: no reason, no champion, or none before it.
        RetryError: the registry is away.
    """
    from phenoscale.registry.promotion import roll_back

    return roll_back(config)


def _unless_outdated(run: Callable[[], StageResult], *, still_true: Callable[[Path], bool]) -> StageResult:
    """Run, and run again when the reused output tells of something the registry does not know."""
    result = run()
    if result.reused and not still_true(result.path):
        discard(result.path)
        return run()
    return result
