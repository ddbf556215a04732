"""Experiment tracking: what a stage did, as an MLflow run. A mirror of lineage.json, never the source of truth."""
