"""The report: one self-contained HTML page that shows what ran, how good it is, and where it came from."""
