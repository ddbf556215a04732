"""Linear probes: what each block of an encoder knows, beside baselines and the confounds alone."""
