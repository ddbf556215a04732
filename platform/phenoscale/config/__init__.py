"""Typed, frozen configs: one class per verb, filled from YAML and flags; a fingerprint of what matters."""

from phenoscale.config.digests import canonical_json, config_yaml, digest_json, fingerprint, resolved
from phenoscale.config.fields import Config, Runtime, field_kind, location, runtime, setting
from phenoscale.config.load import load_config, parse_config, require

__all__ = [
    "Config",
    "Runtime",
    "canonical_json",
    "config_yaml",
    "digest_json",
    "field_kind",
    "fingerprint",
    "load_config",
    "location",
    "parse_config",
    "require",
    "resolved",
    "runtime",
    "setting",
]
