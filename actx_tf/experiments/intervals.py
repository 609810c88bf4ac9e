"""Intervals of figures: how much they depend on which clips were drawn."""

import numpy as np

RESAMPLES = 1000
_AT_ONCE = 100  # resamples
_PERCENT = (2.5, 97.5)


def intervals_of_scores(
    labels: np.ndarray,
    scores: np.ndarray,
    scored: np.ndarray,
) -> dict[str, tuple[float, float]]:
    """Returns the 95% intervals of the figures of `figures_of_scores`.

    The clips are drawn again, as many with replacement, 1000 times
    (bootstrap); the interval holds the middle 95% of the figures, less what
    these are too high in the mean: average precision is, where a clip counts
    twice. It takes clips for independent, and so is too narrow where several
    come from one recording.

    Args:
        labels: `(clips,)`, or `(clips, classes)`: see `Part`.
        scores: `(clips, classes)`.
        scored: Booleans `(classes,)`: see `Task`.

    Returns:
        (lowest, highest) of each figure, by name; NaN where it is not known.
    """
    found: dict[str, list[np.ndarray]] = {}
    for weights in _resamples(len(scores), 0):
        figures = weighted_figures(labels, scores, scored, weights)
        for name, values in figures.items():
            found.setdefault(name, []).append(values)
    once = np.ones((1, len(scores)), int)
    figures = weighted_figures(labels, scores, scored, once)
    return {
        name: _middle(np.concatenate(values), figures[name][0])
        for name, values in found.items()
    }


def interval_of_mean(
    values: np.ndarray, seed: int = 0, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """Returns the 95% interval of a mean over clips.

    Args:
        values: `(clips,)`, in [0, 1]; clips of which it is NaN are left out.
        seed: Of the draws. Defaults to `0`.
        groups: Whole numbers `(clips,)`, such as the recording that each clip
            is of: groups are drawn again, each with all of its clips. Defaults
            to `None`: the clips are.

    Returns:
        (lowest, highest); NaN where it is not known, as for a single group.
    """
    known = ~np.isnan(values)
    values = values[known]
    if not len(values):
        return np.nan, np.nan
    if groups is None:
        groups = np.arange(len(values))
    else:
        _, groups = np.unique(groups[known], return_inverse=True)
        if not groups.any():
            return np.nan, np.nan
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    draws = _resamples(len(counts), seed)
    means = np.concatenate([(w @ sums) / (w @ counts) for w in draws])
    return _middle(means, values.mean())


def weighted_figures(
    labels: np.ndarray,
    scores: np.ndarray,
    scored: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns the figures of `figures_of_scores`, each clip counted so often.

    Args:
        labels: As of `intervals_of_scores`.
        scores: As of `intervals_of_scores`.
        scored: As of `intervals_of_scores`.
        weights: `(draws, clips)`: how often each clip counts.

    Returns:
        The figures by name, `(draws,)` each; NaN where they are not known.
    """
    figures = {}
    member = labels.astype(bool)
    if labels.ndim == 1:
        member = labels[:, None] == np.arange(scores.shape[1])
        hits = weights * (scores.argmax(axis=-1) == labels)
        figures["accuracy"] = hits.sum(axis=1) / weights.sum(axis=1)
        figures["mAcc"] = _mean_of_known(
            _ratio(hits @ member, weights @ member)
        )
    precisions = np.empty((len(weights), np.count_nonzero(scored)))
    for place, k in enumerate(np.flatnonzero(scored)):
        precisions[:, place] = average_precision(
            member[:, k], scores[:, k], weights
        )
    figures["mAP"] = _mean_of_known(precisions)
    if np.isnan(scores[:, scored]).any():  # which has no place in an order
        figures["mAP"][:] = np.nan
    return figures


def average_precision(
    member: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns a class's average precision, each clip counted so often.

    Args:
        member: Booleans `(clips,)`, True for the clips of the class.
        scores: Its scores, `(clips,)`.
        weights: `(draws, clips)`: how often each clip counts.

    Returns:
        `(draws,)`; NaN where no clip of the class counts.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # Clips of one score have the precision of the last of them.
    last = np.searchsorted(-ranked, -ranked, side="right") - 1
    weights = weights[:, order]
    positive = weights * member[order]
    found = np.cumsum(positive, axis=1)[:, last]
    seen = np.cumsum(weights, axis=1)[:, last]
    gained = (positive * found / np.maximum(seen, 1)).sum(axis=1)
    return _ratio(gained, positive.sum(axis=1))


def _resamples(count, seed):
    random = np.random.default_rng(seed)
    shares = np.full(count, 1 / count)
    for _ in range(RESAMPLES // _AT_ONCE):
        yield random.multinomial(count, shares, size=_AT_ONCE)


def _middle(values, figure):
    if np.isnan(values).all():
        return np.nan, np.nan
    ends = np.nanpercentile(values, _PERCENT) - np.nanmean(values) + figure
    low, high = np.clip(ends, 0, 1).tolist()
    return low, high


def _ratio(part, whole):
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean_of_known(values):
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=1)
    return _ratio(total, known.sum(axis=1))
