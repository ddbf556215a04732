"""The image that components run in on a cluster; locally they use this environment's Python."""

from functools import partial

from kfp import dsl

# A tag here, a digest in the compiled file of a deployment: `phenoscale submit` writes it in.
WORKER_IMAGE = "phenoscale/worker-python:0.1.0"

component = partial(dsl.component, base_image=WORKER_IMAGE, install_kfp_package=False)
