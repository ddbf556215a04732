"""The numbers of the literature, and own rows beside them."""
