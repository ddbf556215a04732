"""What every task of every pipeline is told."""

from kfp.dsl import PipelineTask


def named(task: PipelineTask, step: str) -> PipelineTask:
    """Show the step's own name, and keep Kubeflow's cache off: it cannot see code changes inside an image."""
    return task.set_display_name(step).set_caching_options(enable_caching=False)
