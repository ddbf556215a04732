"""Pipelines as values: their steps, settings and compiled form."""
