"""Kubeflow pipelines: how the components are chained; `phenoscale compile` writes them as YAML."""
