"""Pastes the actors of one clip into the scene of another."""

from collections.abc import Iterable

import numpy as np

from actx_tf.utils.optional import import_optional


def feathered(masks: Iterable[np.ndarray], blur: float) -> np.ndarray:
    """Returns how much of the actor is in each pixel, soft at the edge.

    The edge is feathered inwards: what is next to the actor stays where it was.

    Args:
        masks: Of each frame: booleans, or how much of each pixel is the
            actor's, 0 to 1, `(height, width)`.
        blur: Standard deviation of the edge's blur, in pixels.

    Returns:
        float32 `(frames, height, width)`, 0 to 1.
    """
    cv2 = import_optional("cv2", "Pasting actors")
    blurred = [
        cv2.GaussianBlur(
            mask.astype(np.float32),
            (0, 0),
            blur,
            borderType=cv2.BORDER_CONSTANT,
        )
        for mask in masks
    ]
    return np.clip(2 * np.stack(blurred) - 1, 0, 1)


def pasted(
    frames: np.ndarray, alphas: np.ndarray, scene: np.ndarray
) -> np.ndarray:
    """Pastes actors on a scene.

    Args:
        frames: Where they act, uint8 `(frames, height, width, 3)`.
        alphas: How much of each pixel is theirs, `(frames, height, width)`.
        scene: Its frames, uint8 `(frames, height, width, 3)`; or one for all.

    Returns:
        uint8 `(frames, height, width, 3)`.
    """
    alphas = alphas[..., np.newaxis]
    return np.round(alphas * frames + (1 - alphas) * scene).astype(np.uint8)


def there_and_back(length: int, count: int, first: int = 0) -> np.ndarray:
    """Returns the places of `count` frames of `length`.

    From `first` on; of fewer frames they are played back and forth, from the
    beginning.
    """
    forth = np.arange(length)
    cycle = np.concatenate([forth, forth[-2:0:-1]])
    return np.resize(cycle if length < count else forth[first:], count)


def covering(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a frame and cuts off what is too much, so that it covers `size`.

    Args:
        frame: Its pixels, uint8 `(height, width, 3)`.
        size: The new (height, width).
    """
    cv2 = import_optional("cv2", "Pasting actors")
    scale = max(
        new / old for new, old in zip(size, frame.shape[:2], strict=True)
    )
    height, width = (
        max(new, round(scale * old))
        for new, old in zip(size, frame.shape[:2], strict=True)
    )
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    frame = cv2.resize(frame, (width, height), interpolation=way)
    return frame[top : top + size[0], left : left + size[1]]


def stripes(size: tuple[int, int], seed: int | list[int]) -> np.ndarray:
    """Draws a scene that no camera saw: waves of two opposite colours.

    Width, distance, waves, angle and colours are drawn at random.

    Args:
        size: (height, width).
        seed: Of what is drawn.

    Returns:
        uint8 `(height, width, 3)`.

    Reference:
        - Li et al., Mitigating and Evaluating Static Bias of Action
          Representations in the Background and the Foreground, ICCV 2023
    """
    random = np.random.default_rng(seed)
    side = min(size)
    width = random.uniform(0.04, 0.16) * side
    distance = random.uniform(1.5, 2.5) * width
    length = random.uniform(0.25, 4) * side
    height = random.uniform(0.04, 0.43) * side
    shift, angle = 2 * np.pi * random.random(2)
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    across += height * np.sin(2 * np.pi * along / length + shift)
    color = random.integers(0, 256, 3)
    is_stripe = (across % distance) < width
    return np.where(is_stripe[..., None], 255 - color, color).astype(np.uint8)


def noise(size: tuple[int, int], seed: int | list[int]) -> np.ndarray:
    """Draws a scene in which each pixel has a colour of its own.

    Args:
        size: (height, width).
        seed: Of what is drawn.

    Returns:
        uint8 `(height, width, 3)`.
    """
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (*size, 3), np.uint8)
