"""Accuracy and agreement: RMSE, and the three correlations of the field.

Each compares scores with opinion scores, or scores after an attack with scores before it. A correlation of a
constant array is undefined; it is NaN here and shown as missing, never as 0. Published code prints what its library
happens to return.
"""

from __future__ import annotations

import math

import numpy as np

from robustiqa.metrics.checks import Array, check_vectors, is_constant


def rmse(scores: Array, mos: Array) -> float:
    """Root of the mean squared difference, in score points; 0 is perfect.

    Args:
        scores: (n,).
        mos: (n,), on the same scale.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scores, mos = check_vectors(scores=scores, mos=mos)
    return math.sqrt(np.mean((scores - mos) ** 2))


def plcc(scores: Array, mos: Array) -> float:
    """Pearson's linear correlation of the values as they are, in [-1, 1]; NaN if either array is constant.

    The published NT code reports this one; `robustiqa.metrics.mapping.plcc_mapped` is the one after a logistic.

    Args:
        scores: (n,).
        mos: (n,), on any scale.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scores, mos = check_vectors(scores=scores, mos=mos)
    return math.nan if is_constant(scores) or is_constant(mos) else _pearson(scores, mos)


def srocc(scores: Array, mos: Array) -> float:
    """Spearman's rank correlation, in [-1, 1]: Pearson's of the ranks, tied values sharing their mean rank.

    NaN if either array is constant.

    Args:
        scores: (n,).
        mos: (n,), on any scale.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scores, mos = check_vectors(scores=scores, mos=mos)
    if is_constant(scores) or is_constant(mos):
        return math.nan
    from scipy.stats import rankdata  # heavy import

    return _pearson(rankdata(scores), rankdata(mos))


def krocc(scores: Array, mos: Array) -> float:
    """Kendall's rank correlation tau-b, in [-1, 1]: concordant minus discordant pairs, corrected for ties.

    NaN if either array is constant.

    Args:
        scores: (n,).
        mos: (n,), on any scale.

    Raises:
        InputError: unless both are finite, of the same length, at least 2.
    """
    scores, mos = check_vectors(scores=scores, mos=mos)
    if is_constant(scores) or is_constant(mos):
        return math.nan
    from scipy.stats import kendalltau  # heavy import

    return float(kendalltau(scores, mos).statistic)


def _pearson(first: Array, second: Array) -> float:
    from scipy.stats import pearsonr  # heavy import

    return float(pearsonr(first, second).statistic)
