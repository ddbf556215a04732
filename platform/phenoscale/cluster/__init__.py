"""Everything that talks to Kubeflow or Kubernetes from inside the library."""
