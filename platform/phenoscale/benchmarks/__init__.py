"""Benchmarks of maps and embeddings; every one returns rows of one shape."""
