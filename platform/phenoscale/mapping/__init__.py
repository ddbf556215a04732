"""From well embeddings to a map of perturbations: a declared list of fit/transform steps."""
