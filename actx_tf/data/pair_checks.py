"""Says which pairs of clips look wrong, by their features."""

import functools
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from actx_tf.data.clip_index import Clip

# Chosen on features of MobileNetV2Clip of CCTV clips whose scene is known. Of
# 199 pairs of one scene, with a fight in one of the clips, 3% are found alike
# everywhere and 1% nowhere; of 267 pairs of two scenes 0% and 99%; of the first
# and second halves of 149 clips 100% and 0%.
_AS_ITSELF = 1.1  # times the difference of a clip's own halves
_NOWHERE = 0.6
ALIKE_EVERYWHERE = "alike everywhere"
ALIKE_NOWHERE = "alike nowhere"


def doubtful_pairs(
    clips: Sequence[Clip], features: Mapping[str, np.ndarray]
) -> list[tuple[str, str, str]]:
    """Finds pairs in which there is no action to find, or another scene.

    Each location of the action clip, its mean over time, is compared with the
    most similar location of the conjugate, by the cosine. A pair is alike
    everywhere if it differs, where it differs most (the 5th percentile), no
    more than the two halves of the action clip do: what is the action then, if
    the conjugate shows all of it? It is alike nowhere if even the most similar
    tenth of its locations has cosines below 0.6: it shows two scenes.

    These are hints, for people to look at the clips. They were measured with
    `MobileNetV2Clip`; where all features are alike, no pair is alike nowhere.

    Args:
        clips: The clips, with the names of their conjugates.
        features: Mapping from the name of a clip to its feature map
            `(time, height, width, channels)`, such as a `FeatureStore`. Pairs
            of which one is missing are not judged; of a clip of one step only
            whether they are alike nowhere.

    Returns:
        A list of `(clip, conjugate, doubt)`: the names of the two, and
        `"alike everywhere"` or `"alike nowhere"`.
    """

    @functools.lru_cache(maxsize=64)
    def conjugate_locations(name):
        return _locations(features[name])

    found = []
    for clip in clips:
        if not clip.conjugates or clip.clip not in features:
            continue
        of_clip = features[clip.clip]
        locations = _locations(of_clip)
        half = len(of_clip) // 2
        own = np.inf  # its own difference
        if half:
            own = _difference(
                _best(_locations(of_clip[:half]), _locations(of_clip[half:]))
            )
        for name in clip.conjugates:
            if name not in features:
                continue
            best = _best(locations, conjugate_locations(name))
            if half and _difference(best) <= _AS_ITSELF * own:
                found.append((clip.clip, name, ALIKE_EVERYWHERE))
            elif np.percentile(best, 90) < _NOWHERE:
                found.append((clip.clip, name, ALIKE_NOWHERE))
    return found


def _locations(features):
    """The mean of each location over time, as a vector of length 1."""
    mean = features.mean(axis=0, dtype="float32")
    mean = mean.reshape(-1, mean.shape[-1])
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return mean / np.maximum(length, np.finfo("float32").tiny)


def _best(locations, others):
    """The largest cosine of each location."""
    return (locations @ others.T).max(axis=1)


def _difference(best):
    return 1 - np.percentile(best, 5)
