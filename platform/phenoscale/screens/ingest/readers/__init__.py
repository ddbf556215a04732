"""Readers of source layouts, one file each: `plan(config)` says which files make which fields of a screen."""
