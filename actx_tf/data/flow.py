"""Optical flow between the frames of a clip, with OpenCV."""

import itertools

import numpy as np

from actx_tf.utils.optional import import_optional

_BOUND = 20.0  # pixels; of I3D


def optical_flow(frames: np.ndarray, method: str = "dis") -> np.ndarray:
    """Computes how far each pixel moves to the next frame.

    The motion is clipped at 20 pixels and divided by it, as I3D takes it.
    The last frame, which has no next one, gets the motion of the frame before
    it, so that there is as much flow as there are frames; a clip of a single
    frame does not move. Nor does a frame that is shown twice.

    Args:
        frames: RGB values, uint8, `(frames, height, width, 3)`; at least 12
            pixels high and wide.
        method: How: `"dis"`, dense inverse search at OpenCV's medium preset,
            or `"tvl1"`, which I3D was trained with. That is slow, and needs
            opencv-contrib. Defaults to `"dis"`.

    Returns:
        Float32 in [-1, 1], `(frames, height, width, 2)`: the motion to the
        right and the motion down, in units of 20 pixels.

    Raises:
        ImportError: If OpenCV is missing or lacks the method.
        ValueError: If an argument is wrong.

    Reference:
        - Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV
          2016
        - Zach et al., A Duality Based Approach for Realtime TV-L1 Optical
          Flow, DAGM 2007
        - Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017
    """
    frames = np.asarray(frames)
    if not (
        frames.dtype == np.uint8
        and frames.ndim == 4
        and frames.shape[-1] == 3
        and len(frames) >= 1
        and min(frames.shape[1:3]) >= 12  # DIS takes no smaller ones
    ):
        raise ValueError(
            "`frames` must be uint8, (frames, height, width, 3), of at least "
            "12 by 12 pixels. Received: frames of the shape "
            f"{frames.shape} and the type {frames.dtype}"
        )
    cv2 = import_optional("cv2", "Optical flow")
    algorithm = _make_algorithm(cv2, method)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = [
        algorithm.calc(frame, successor, None)
        for frame, successor in itertools.pairwise(grey)
    ]
    flow.append(flow[-1] if flow else np.zeros((*grey[0].shape, 2), "float32"))
    return np.clip(np.stack(flow) / _BOUND, -1, 1)


def _make_algorithm(cv2, method):
    if method == "dis":
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if method != "tvl1":
        raise ValueError(
            f"`method` must be 'dis' or 'tvl1'. Received: method={method!r}"
        )
    try:
        return cv2.optflow.DualTVL1OpticalFlow_create()
    except AttributeError as error:
        raise ImportError(
            "TV-L1 flow needs opencv-contrib in place of OpenCV: pip "
            "uninstall opencv-python-headless, then pip install "
            "opencv-contrib-python-headless"
        ) from error
