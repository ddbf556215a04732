"""Curation: choose, from screen stores, the fields that a data set consists of."""
