"""Signal consistency and magnitude of plain arrays, for tests that plant what should be found."""

import numpy as np

from phenoscale.benchmarks.wells.magnitude import magnitude_scores
from phenoscale.benchmarks.wells.signal import signal_scores


def _coded(labels):
    names, codes = np.unique(labels, return_inverse=True)
    has_none = bool(len(names)) and names[0] == ""
    return names[int(has_none) :], codes.astype(np.intp) - int(has_none)


def signal_p_values(vectors, labels, *, config, batches_N=None):
    """Mean cosine and p-value of every perturbation; a well of the label "" tests none."""
    names, codes = _coded(np.asarray(labels))
    batches = None if batches_N is None else np.unique(batches_N, return_inverse=True)[1].astype(np.intp)
    is_null = np.isin(names, config.null_perturbations)
    return signal_scores(vectors, codes, names_G=names, is_null_G=is_null, batches_N=batches, config=config)


def magnitude_p_values(vectors, labels, *, is_control_N, config):
    """Energy distance and p-value of every perturbation; controls test none."""
    names, codes = _coded(np.where(is_control_N, "", np.asarray(labels, dtype=np.str_)))
    is_null = np.isin(names, config.null_perturbations)
    return magnitude_scores(
        vectors, codes, is_control_N=is_control_N, names_G=names, is_null_G=is_null, config=config
    )
