"""Shows training clips in other ways: a part of them, mirrored, recoloured."""

import dataclasses
from typing import NamedTuple

import numpy as np

from actx_tf.utils.checks import check_rate
from actx_tf.utils.checks import check_share

_LUMA = np.array([0.299, 0.587, 0.114])  # of BT.601
_GREY = 127.5


class View(NamedTuple):
    """How a clip is shown. The two clips of a pair, of one scene, share one.

    Attributes:
        scale: Sides of the part that is shown, as shares of the frame's.
        position: Where it lies, (x, y) in [0, 1]: 0 is left and top.
        flip: Whether left and right change places.
        colors: `(3, 3)`, from RGB values to RGB values; `None`: as they are.
        brightness: What is added to them.
    """

    scale: float = 1.0
    position: tuple[float, float] = (0.5, 0.5)
    flip: bool = False
    colors: np.ndarray | None = None
    brightness: float = 0.0

    def box(
        self, height: int, width: int, square: bool = False
    ) -> tuple[int, int, int, int]:
        """Returns the part of a frame that is shown, (x1, y1, x2, y2).

        Args:
            height: Rows of the frame.
            width: Columns of the frame.
            square: Whether the part is a square, a share of the shorter side,
                and not of the frame's proportions. Defaults to `False`.
        """
        sides = np.array([width, height])
        shown = np.full(2, sides.min()) if square else sides
        shown = np.maximum(np.rint(self.scale * shown), 1).astype(int)
        first = np.rint(np.array(self.position) * (sides - shown)).astype(int)
        x1, y1 = first.tolist()
        x2, y2 = (first + shown).tolist()
        return x1, y1, x2, y2

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Mirrors and recolours a frame.

        Args:
            frame: The frame, uint8 `(..., height, width, 3)`.
        """
        if self.flip:
            frame = frame[..., ::-1, :]
        if self.colors is None:
            return frame
        values = frame @ self.colors.T.astype("float32")
        values += np.float32(self.brightness)
        return np.clip(np.rint(values), 0, 255).astype("uint8")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """In what ways training clips are shown.

    Attributes:
        flip: Whether left and right change places in half of the clips.
            Defaults to `True`.
        smallest_crop: The shortest sides of the part that is shown, as a share
            of the frame's, in (0, 1]; `1` shows all. Defaults to `0.8`.
        color: By which share brightness, contrast and saturation become more
            or less at most, in [0, 1). Defaults to `0.2`.

    Raises:
        ValueError: If a value is out of its range.
    """

    flip: bool = True
    smallest_crop: float = 0.8
    color: float = 0.2

    def __post_init__(self) -> None:
        check_share("smallest_crop", self.smallest_crop, above_zero=True)
        check_rate("color", self.color)

    def draw(self, random: np.random.Generator, flip: bool = True) -> View:
        """Draws how a clip, or both clips of a pair, are shown.

        As many numbers are drawn whatever the settings are.

        Args:
            random: Where numbers are drawn from.
            flip: Whether this clip can be mirrored. Defaults to `True`.
        """
        scale = random.uniform(self.smallest_crop, 1)
        x, y = random.uniform(size=2)
        flipped = random.uniform() < 0.5
        brightness, contrast, saturation = random.uniform(
            1 - self.color, 1 + self.color, 3
        )
        grey = (1 - saturation) * np.ones((3, 1)) * _LUMA
        colors = contrast * (saturation * np.eye(3) + grey)
        offset = _GREY * (1 - contrast) + 255 * (brightness - 1)
        return View(
            scale,
            (x, y),
            bool(flip and self.flip and flipped),
            colors if self.color else None,
            offset if self.color else 0.0,
        )
