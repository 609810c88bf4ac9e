"""Reads on while what was read is worked on."""

import concurrent.futures
import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], count: int = 16) -> Iterator[Item]:
    """Yields the items, of which the next ones are read in a thread.

    Args:
        items: What to read, such as the frames of a video.
        count: Most items that are read ahead of those that are taken; as many
            again wait to be taken. Defaults to `16`.

    Yields:
        The items, in their order. An error of theirs comes up to `count` items
        early.
    """
    items = iter(items)

    def read():
        return list(itertools.islice(items, count))

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        while batch := reading.result():
            reading = thread.submit(read)
            yield from batch
