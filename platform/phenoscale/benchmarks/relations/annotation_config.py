"""Settings of `benchmark annotations`."""

from __future__ import annotations

from typing import Literal

from phenoscale.config import Config, Runtime, location, setting


class AnnotationsConfig(Config):
    """Import known relationships from an official file: a CSV with entity1,entity2 and a JSON beside it.

    Each pair once, the smaller name first, without self pairs; a complex gives every pair of its members. The
    JSON says what was read (checksum, version, license) and counted: pairs, entities, what was left out, what
    was renamed, and with --map how much of it a map holds.
    """

    source: Literal["corum", "humap", "reactome", "signor", "string", "pairs"] = setting(
        "pairs", help="whose format the file has; pairs: any table with two columns of names"
    )
    path: str = location("", help="the official file, as downloaded; gzip is accepted")
    output: str = location("", help="CSV to write; its stem names the source in benchmarks")
    names: str = location(
        "",
        help="names of identifiers: STRING's protein.info or protein.aliases, or identifier,symbol",
    )
    aliases: str = location("", help="CSV with alias,symbol: outdated names to replace")
    map: str = location("", help="map whose overlap is counted")
    above: float | None = setting(
        None, ge=0, lt=1, help="keep scores above this, from 0 to 1; by default 0.95 for STRING, else all"
    )
    organism: str = setting("Human", help="organism of complexes, where the file says it")
    columns: tuple[str, str] = setting(("entity1", "entity2"), help="header of the names in a table of pairs")
    version: str = setting("", help="release of the source; by default what the file's name says")
    license: str = setting("", help="license of the source; by default that of its current release")
    sha256: str = setting("", help="refuse a file with another checksum")
    runtime: Runtime = Runtime()
