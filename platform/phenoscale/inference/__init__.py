"""Embedding screens with an encoder: crops to fields to wells, plate by plate."""
