"""Experiment tracking: what a stage did, as an MLflow run; a mirror of lineage.json, never the truth."""
