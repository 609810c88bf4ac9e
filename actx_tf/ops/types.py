"""Names for what annotations speak of."""

from typing import Any

# A tensor of whatever backend Keras runs on, or what converts to one.
Tensor = Any

# Sizes of a tensor's axes; None where a size is not known.
Shape = tuple[int | None, ...]
