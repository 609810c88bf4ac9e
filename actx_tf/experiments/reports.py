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
from actx_tf.data.video_files import same_files

_SHOWN = 5  # pairs
_FEW = 20  # test clips
_MEANING = {
    ALIKE_EVERYWHERE: "is there an action to find?",
    ALIKE_NOWHERE: "do they show one scene? `actx mine` can leave such pairs "
    "out, by --min_similarity or --same",
}


def index_report(
    clips: Collection[Clip], left_out: Collection[LeftOut] = ()
) -> str:
    """Returns a table with a row a class: clips by split, and other files.

    After it come notes on what will make figures say little: few test clips,
    sources in several splits, copies of one file.

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
    notes = [
        *_few(in_split, counts),
        *_divided_sources(clips),
        *_copies(clips),
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


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
    lines += [f"{x:8.3f}  {clip}  {y}" for x, clip, y in pairs[:_SHOWN]]
    counts = collections.Counter(doubt for _, _, doubt in doubts)
    for doubt, meaning in _MEANING.items():
        if counts[doubt]:
            lines.append(f"note: {counts[doubt]} pairs look {doubt}: {meaning}")
        named = [
            f"      {clip} and {conjugate}"
            for clip, conjugate, its_doubt in doubts
            if its_doubt == doubt
        ]
        lines += named[:_SHOWN]
        if len(named) > _SHOWN:
            lines.append(f"      and {len(named) - _SHOWN} more")
    return "\n".join(lines)


def _divided_sources(clips):
    splits = collections.defaultdict(set)
    for clip in clips:
        if clip.source and clip.split != CONJUGATE:
            splits[clip.source].add(clip.split)
    divided = sorted(source for source in splits if len(splits[source]) > 1)
    if divided:
        yield (
            f"{len(divided)} sources are in several splits, such as "
            f"{divided[0]}: the test is not of clips of other sources"
        )


def _copies(clips):
    copies = same_files({clip.file for clip in clips})
    for same in copies[:_SHOWN]:
        note = f"{same[0]} is the same file as {', '.join(same[1:])}"
        found = [
            clip
            for clip in clips
            if clip.file in same and clip.split != CONJUGATE
        ]
        for what, values in (
            ("split", {clip.split for clip in found}),
            ("class", {clip.label for clip in found}),
        ):
            if len(values) > 1:
                note += f", of another {what} ({', '.join(sorted(values))})"
        yield note
    if len(copies) > _SHOWN:
        yield f"{len(copies) - _SHOWN} more files have copies"


def _few(in_split, counts):
    """Notes on splits of which figures say little."""
    tested = "test"
    if not in_split[tested] and in_split["validation"]:
        tested = "validation"
    if in_split[tested] < _FEW:
        yield (
            f"{in_split[tested]} clips are of the split {tested}: figures of "
            "so few say little. --test_percent draws more; so do folders "
            "train/<class> and test/<class>"
        )
    for split in ("train", tested):
        labels = {label for label, place in counts if place != CONJUGATE}
        without = sorted(x for x in labels if not counts[x, split])
        if without and in_split[split]:
            yield (
                f"no clip of {', '.join(without)} is of the split {split}: is "
                "that a class?"
            )
