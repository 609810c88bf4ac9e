"""Clips of a square that moves over a background with corners everywhere."""

import numpy as np

SIDE = 12


def background(height=64, width=96, seed=0):
    """`(height, width, 3)`: blocks of 4 by 4 pixels of random colours."""
    random = np.random.default_rng(seed)
    blocks = random.integers(40, 200, (-(-height // 4), -(-width // 4), 3))
    blocks = blocks.repeat(4, 0).repeat(4, 1)[:height, :width]
    return blocks.astype(np.uint8)


def moving_square(count=20, height=64, width=96, seed=0):
    """Frames, masks of the square, and the background.

    The square is at no place for half of the time.
    """
    behind = background(height, width, seed)
    frames = np.stack([behind] * count)
    masks = np.zeros((count, height, width), bool)
    for number in range(count):
        left = round(number * (width - SIDE) / max(1, count - 1))
        masks[number, 20 : 20 + SIDE, left : left + SIDE] = True
    frames[masks] = (250, 20, 20)
    return frames, masks, behind
