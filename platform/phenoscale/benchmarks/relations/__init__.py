"""Known relations between perturbations, asked of a map: pairs, arms, compounds and links."""
