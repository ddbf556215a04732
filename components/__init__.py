"""Kubeflow components: each is one call into the library; artifacts carry a place and a digest."""
