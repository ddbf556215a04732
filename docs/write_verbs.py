"""Write docs/verbs.md from the configs: `make docs`. A test compares the file with what this would write."""

import re
import sys
from pathlib import Path

from phenoscale.cli.arguments import build_parser
from phenoscale.cli.main import top_help
from phenoscale.cli.verbs import VERBS, Verb
from phenoscale.config import Config, Runtime
from phenoscale.references import find

TARGET = Path(__file__).parent / "verbs.md"
_HEAD = """# Verbs

Every verb and its fields, as `phenoscale VERB --help` shows them. This file is written by `make docs`.
The flags that all verbs share stand once, at the end; a pipeline's sections are the verbs of the same names.
"""
_SHARED = ("general:", "runtime:")
_OWN = {"settings:", "positional arguments:", "Examples:"}
_FOOTER = re.compile(r"Flags and the YAML file.*?need no prefix\.\n", re.DOTALL)


def verbs_page() -> str:
    """The whole page."""
    parts = [_HEAD, _block(top_help())]
    for name, verb in VERBS.items():
        text = build_parser(name, verb, config=find(verb.config)).format_help()
        left_out = _titles(text) - _OWN if verb.plan else set(_SHARED)
        parts += [f"\n## {name}\n", _block(_without(text, titles=left_out))]
    shared = build_parser("VERB", Verb("", config="", function=""), config=_OnlyRuntime).format_help()
    return "\n".join([*parts, "\n## Flags of every verb\n", _block(_without(shared, titles=set()))])


class _OnlyRuntime(Config):
    """What all verbs share."""

    runtime: Runtime = Runtime()


def _titles(text: str) -> set[str]:
    return {line for line in text.splitlines() if _is_title(line)}


def _without(text: str, *, titles: set[str]) -> str:
    """Help without the groups of these titles, and without the paragraph that ends every help."""
    kept: list[str] = []
    title = ""
    for line in _FOOTER.sub("", text).splitlines():
        title = line if _is_title(line) else title
        if title not in titles:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept))


def _is_title(line: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z][\w. ]*:", line))


def _block(text: str) -> str:
    return "\n".join(["```text", *(line.rstrip() for line in text.strip("\n").splitlines()), "```"])


if __name__ == "__main__":
    TARGET.write_text(verbs_page() + "\n")
    sys.stdout.write(f"wrote {TARGET}\n")
