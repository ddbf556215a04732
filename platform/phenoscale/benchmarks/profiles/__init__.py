"""Retrieval in profile tables and embeddings: average precision, JUMP-CP, replicates."""
