"""What rankings should give: closed forms, and counts of their sizes."""

from collections import Counter

import numpy as np


def expected_average_precision(num_positive, num_items):
    """Mean average precision of a random order of so many items without ties, in closed form.

    A positive at rank k has on average 1 + (k - 1)(p - 1)/(N - 1) positives up to it; ranks are uniform.
    """
    share = (num_positive - 1) / (num_items - 1) if num_items > 1 else 1.0
    harmonic = float((1 / np.arange(1, num_items + 1)).sum())
    return share + (1 - share) * harmonic / num_items


def num_configurations(ranked):
    """How many queries have each (positives, total)."""
    return dict(Counter(zip(ranked.num_positives.tolist(), ranked.num_total.tolist(), strict=True)))
