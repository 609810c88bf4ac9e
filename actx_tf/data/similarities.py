"""The similarity of each pair of clips, computed once and stored."""

import os
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from actx_tf import losses
from actx_tf.data.clip_index import Clip
from actx_tf.data.extraction import progress_bar
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.feature_store_writer import FeatureStoreWriter


def pair_name(clip: str, conjugate: str) -> str:
    """Returns the name under which a pair is stored."""
    return f"{clip} {conjugate}"


def store_name(features: FeatureStore, gamma: float) -> str:
    """Returns the text of a store of similarities that names their source."""
    source, description = features.made_by, features.description
    if description is not None:
        source = f"{description.name} ({description.digest})"
    return f"conjugate_similarity(gamma={gamma:g}) of {source}"


def store_similarities(
    clips: Sequence[Clip],
    features: FeatureStore,
    store_path: str | os.PathLike,
    *,
    gamma: float = 20.0,
    background: Collection[str] = (),
    progress: bool = True,
) -> int:
    """Stores `losses.conjugate_similarity` of each pair of whole clips.

    With frozen features it depends on no weight: training that reads it
    needs neither the conjugates nor the attention over them. Where training
    crops both clips, what is stored differs from what it would compute: here
    a location is matched with all of both clips.

    Pairs that the store holds already are left as they are, so an interrupted
    run can be resumed. eta(F_k, F) is computed once for all conjugates
    of a clip, in memory that is linear in its length.

    Args:
        clips: The clips, with the names of their conjugates.
        features: Their features; pairs of which one is missing are left out.
        store_path: Path of the store: a `FeatureStore` of one channel,
            float16, with the names of `pair_name`.
        gamma: As in `losses.match_features`. Defaults to `20.0`.
        background: Labels whose clips have no conjugates. Defaults to none.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        The number of pairs in the store.

    Raises:
        ValueError: If no clip is of a label of the background, or the store
            holds similarities of other features or of another gamma.
    """
    labels = {label for clip in clips for label in clip.labels}
    if unknown := set(background) - labels:
        raise ValueError(
            f"`background` must be labels of the clips, {sorted(labels)}. "
            f"Received: background={sorted(unknown)}"
        )
    with FeatureStoreWriter(store_path, store_name(features, gamma)) as writer:
        missing = {
            clip.clip: [
                conjugate
                for conjugate in clip.conjugates
                if conjugate in features
                and pair_name(clip.clip, conjugate) not in writer
            ]
            for clip in clips
            if clip.clip in features and not set(clip.labels) <= set(background)
        }
        total = len(missing)
        missing = {clip: names for clip, names in missing.items() if names}
        bar = progress_bar(total, total - len(missing), progress)
        with bar:
            for clip, conjugates in missing.items():
                of_clip = features[clip][np.newaxis]
                attributes: dict[str, Any] = features.attributes(clip)
                matched = losses.match_features(of_clip, of_clip, gamma)
                for conjugate in conjugates:
                    similarity = losses.conjugate_similarity(
                        of_clip,
                        features[conjugate][np.newaxis],
                        gamma,
                        matched=matched,
                    )
                    writer.add(
                        pair_name(clip, conjugate),
                        ops.convert_to_numpy(similarity)[0, ..., np.newaxis],
                        **attributes,
                    )
                bar.update()
        return len(writer)
