"""Prints the scores of a video."""

from collections.abc import Sequence

_SHOWN = 5


def print_scores(scores: Sequence[float], class_names: Sequence[str]) -> None:
    """Prints the largest scores, the first one first."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    for i in order[:_SHOWN]:
        print(f"{scores[i]:.3f}  {class_names[i]}")
