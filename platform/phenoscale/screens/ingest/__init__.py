"""Ingest: turn the files of a microscope into a screen store, plate by plate."""
