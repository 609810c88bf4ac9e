"""Prints what is doubtful about pairs of clips."""

import collections
from collections.abc import Collection

_MEANING = {
    "alike everywhere": "is there an action to find?",
    "alike nowhere": "do they show one scene?",
}


def print_doubts(doubts: Collection[tuple[str, str, str]]) -> None:
    """Prints a note a pair, as `doubtful_pairs` finds them, and counts."""
    counts = collections.Counter(doubt for _, _, doubt in doubts)
    for doubt, meaning in _MEANING.items():
        for clip, conjugate, its_doubt in doubts:
            if its_doubt == doubt:
                print(f"note: {clip} and {conjugate} look {doubt}")
        if counts[doubt]:
            print(f"note: {counts[doubt]} pairs look {doubt}: {meaning}")
