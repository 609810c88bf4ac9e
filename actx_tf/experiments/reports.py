"""Says in lines of text what an index and its pairs hold."""

import collections
from collections.abc import Collection
from typing import Any

from actx_tf.data.annotations import LeftOut
from actx_tf.data.clip_index import CONJUGATE
from actx_tf.data.clip_index import SPLITS
from actx_tf.data.clip_index import Clip
from actx_tf.data.pair_checks import ALIKE_EVERYWHERE
from actx_tf.data.pair_checks import ALIKE_NOWHERE

_LEAST_SHOWN = 5  # pairs
_MEANING = {
    ALIKE_EVERYWHERE: "is there an action to find?",
    ALIKE_NOWHERE: "do they show one scene?",
}


def index_report(
    clips: Collection[Clip], left_out: Collection[LeftOut] = ()
) -> str:
    """Returns a table with a row a class: clips by split, and other files.

    Args:
        clips: The clips of an index.
        left_out: What a folder holds beside them, of `look_through`. Defaults
            to nothing.
    """
    counts = collections.Counter(
        (label, clip.split) for clip in clips for label in clip.labels
    )
    in_split = collections.Counter(clip.split for clip in clips)
    splits = [split for split in (*SPLITS, CONJUGATE) if in_split[split]]
    reasons: dict = collections.defaultdict(collections.Counter)
    for entry in left_out:
        reasons[entry.label][entry.reason] += 1
    labels = {label for clip in clips for label in clip.labels} | set(reasons)
    rows: list[list[Any]] = [["", *splits, "not taken" if left_out else ""]]
    for label in sorted(labels, key=lambda label: (not label, label)):
        rows.append(
            [
                label or "(no class)",
                *(counts[label, split] for split in splits),
                ", ".join(
                    f"{count} {reason}"
                    for reason, count in sorted(reasons[label].items())
                ),
            ]
        )
    total = len(left_out) or ""
    rows.append(["clips", *(in_split[split] for split in splits), total])
    width = max(len(row[0]) for row in rows)
    lines = []
    for label, *numbers, rest in rows:
        line = label.ljust(width) + "".join(f"{x:>12}" for x in numbers)
        lines.append(f"{line}   {rest}".rstrip())
    if note := _divided_sources(clips):
        lines.append(note)
    return "\n".join(lines)


def pair_report(
    clips: Collection[Clip], doubts: Collection[tuple[str, str, str]] = ()
) -> str:
    """Returns lines on the similarities of mined pairs, and on doubtful ones.

    Args:
        clips: Clips with conjugates.
        doubts: What `doubtful_pairs` found. Defaults to nothing.
    """
    pairs = sorted(
        (similarity, clip.clip, name)
        for clip in clips
        for name, similarity in zip(
            clip.conjugates, clip.conjugate_similarities, strict=False
        )
    )
    lines = []
    if pairs:
        lowest, median, highest = (
            pairs[place][0] for place in (0, len(pairs) // 2, -1)
        )
        lines.append(
            f"similarity of the pairs: lowest {lowest:.3f}, median "
            f"{median:.3f}, highest {highest:.3f}; the least similar:"
        )
    lines += [f"{x:8.3f}  {clip}  {y}" for x, clip, y in pairs[:_LEAST_SHOWN]]
    counts = collections.Counter(doubt for _, _, doubt in doubts)
    for doubt, meaning in _MEANING.items():
        lines += [
            f"note: {clip} and {conjugate} look {doubt}"
            for clip, conjugate, its_doubt in doubts
            if its_doubt == doubt
        ]
        if counts[doubt]:
            lines.append(f"note: {counts[doubt]} pairs look {doubt}: {meaning}")
    return "\n".join(lines)


def _divided_sources(clips):
    splits = collections.defaultdict(set)
    for clip in clips:
        if clip.source and clip.split != CONJUGATE:
            splits[clip.source].add(clip.split)
    divided = sorted(source for source in splits if len(splits[source]) > 1)
    if not divided:
        return ""
    return (
        f"note: {len(divided)} sources are in several splits, such as "
        f"{divided[0]}: the test is not of clips of other sources"
    )
