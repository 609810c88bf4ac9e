"""Writes video files that keep every value of every pixel."""

import av


def write_lossless(path, video, rate=8):
    """Writes uint8 RGB `(frames, height, width, 3)`; returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate, options={"qp": "0"})
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "rgb24"
        for frame in video:
            frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
