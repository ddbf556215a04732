"""Crops for training and inference: from stores on disk to arrays, in an order that only the seed decides."""
