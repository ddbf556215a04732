"""Tests of the Kubernetes manifests and images."""
