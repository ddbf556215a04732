"""Kubeflow pipelines: how a pipeline's value becomes what Kubeflow runs; `phenoscale compile` writes it."""
