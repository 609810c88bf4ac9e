"""What a model answers to windows over a feature map of any length."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

_BATCH_BYTES = 2**26  # of windows that are answered at once


def answer_in_windows(
    answers: Callable[[np.ndarray], dict[str, np.ndarray]],
    parts: Iterable[np.ndarray],
    window: int,
    hop: int,
) -> dict[str, np.ndarray]:
    """Returns the answers to each step: means over the windows it lies in.

    The first window begins with the first step, and the last one ends with the
    last step. Of a feature map that is shorter than a window, it is all.

    Args:
        answers: The model: windows `(batch, steps, height, width, channels)`
            -> arrays by name, `(batch, ...)` of `scores`, `(batch, steps,
            ...)` of others.
        parts: The feature map, part by part, `(steps, height, width,
            channels)` each. No more is held than a part and a window.
        window: Steps of a window.
        hop: Steps from one window to the next, up to those of a window.

    Returns:
        Arrays by name, float32 `(steps, ...)`.
    """
    means = WindowMeans()
    held = np.empty(0)  # from step `first` of the feature map on
    first = total = begin = 0
    for part in parts:
        held = np.concatenate([held, part]) if total else np.array(part)
        total += len(part)
        begins = range(begin, total - window + 1, hop)
        size = max(1, _BATCH_BYTES // held[:window].nbytes)
        for k in range(0, len(begins), size):
            batch = begins[k : k + size]
            clips = [held[i - first :][:window] for i in batch]
            means.add(batch, answers(np.stack(clips)), window)
        begin += len(begins) * hop
        # A window that begins before the last one cannot come any more.
        cut = max(0, total - window - first)
        held = held[cut:].copy()
        first += cut
    if begin - hop + window < total or not begin:
        means.add([first], answers(held[np.newaxis]), len(held))
    return means.result()


class WindowMeans:
    """Means, for each step, of what the windows say that it lies in."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self._counts = np.zeros(0, np.float32)

    def add(
        self,
        begins: Sequence[int],
        answers: Mapping[str, np.ndarray],
        window: int,
    ) -> None:
        """Adds windows.

        Args:
            begins: Steps with which they begin, ascending.
            answers: As of `answer_in_windows`.
            window: Steps of a window.
        """
        missing = begins[-1] + window - len(self._counts)
        self._counts = _longer(self._counts, missing)
        for name, values in answers.items():
            if name == "scores":  # one for all steps of a window
                values = np.repeat(values[:, np.newaxis], window, axis=1)
            if name not in self._sums:
                shape = (len(self._counts) - missing, *values.shape[2:])
                self._sums[name] = np.zeros(shape, np.float32)
            self._sums[name] = _longer(self._sums[name], missing)
            for begin, value in zip(begins, values, strict=True):
                self._sums[name][begin : begin + window] += value
        for begin in begins:
            self._counts[begin : begin + window] += 1

    def result(self) -> dict[str, np.ndarray]:
        """Returns what `answer_in_windows` does."""
        return {
            name: sums / self._counts.reshape(-1, *[1] * (sums.ndim - 1))
            for name, sums in self._sums.items()
        }


def _longer(values, count):
    """The array with so many more zeros, if any."""
    zeros = np.zeros((max(0, count), *values.shape[1:]), values.dtype)
    return np.concatenate([values, zeros])
