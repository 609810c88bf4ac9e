"""Names for what annotations speak of."""

from typing import Any

# A tensor of the backend that Keras runs on, or what converts to one.
Tensor = Any

# The sizes of a tensor's axes: integers, None where a size is not known, and
# in graphs also tensors.
Shape = tuple[Any, ...]
