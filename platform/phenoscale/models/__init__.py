"""Encoders of cell images: vision transformers, masked autoencoders, and the baselines they have to beat."""
