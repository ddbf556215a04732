"""Running a pipeline: its steps, their records, and what a person sees of it."""
