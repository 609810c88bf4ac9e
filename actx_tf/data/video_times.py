"""When each frame of a video file is shown."""

import itertools
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from actx_tf.data.video_file import VideoError
from actx_tf.data.video_file import import_av
from actx_tf.data.video_file import open_video

# As in FFmpeg's own players: in files whose clock may start over, a step of
# more seconds than these is one, and no pause.
_LONGEST_PAUSE = 10
_LONGEST_STEP_BACK = Fraction(1, 10)
# In other files it is a fault, beyond what a muxer may do to a single packet.
_LONGEST_STEP_BACK_OF_ONE_CLOCK = 1
# So many packets with one time stamp have none that tells a time.
_FIRST_PACKETS = 16


def shown_frames(
    stream: Any,
    origin: Fraction | None = None,
    skipped: int = 0,
    thread_type: str = "AUTO",
) -> Iterator[tuple[Any, Fraction, Fraction]]:
    """Yields (frame, begin, end): seconds since the first frame of the file.

    Args:
        stream: A video stream of PyAV, whose container is at the place to read
            from.
        origin: The time stamp of the file's first frame, in seconds; `None`
            if it is the first that is read.
        skipped: So many packets are not decoded.
        thread_type: Of FFmpeg: with `"SLICE"` no frame waits for the next ones.
            Defaults to `"AUTO"`, the fastest.

    Raises:
        VideoError: At the end, if the file is truncated.
    """
    stream.thread_type = thread_type
    interval = nominal_interval(stream)
    packets, timed = _timed_packets(stream)
    timed = timed or origin is not None
    packets = itertools.islice(packets, skipped, None)
    shown, count = None, 0
    begin = end = Fraction(0)
    for frame in _decoded(stream, packets):
        stamp = _stamp(stream, frame) if timed else None
        if stamp is not None:
            time = stamp * frame.time_base
            if origin is None:
                origin = time - end
            end = max(time - origin, begin)
        if shown is None:
            first_begin = end
        else:
            yield shown, begin, end
        count += 1
        shown, begin, end = frame, end, end + interval
    if shown is not None:
        seconds = (shown.duration or 0) * shown.time_base if timed else 0
        end = begin + (seconds or interval)
        yield shown, begin, end
        _check_whole(stream, (end - first_begin) / count, origin or 0, end)


def duration(path: str | os.PathLike) -> Fraction:
    """Returns the seconds from the first frame's begin to the last's end.

    Packets tell it; no frame but the first is decoded.
    """
    with open_video(path) as stream:
        interval = nominal_interval(stream)
        packets, timed = _timed_packets(stream)
        count, end = 0, (-math.inf, 0)

        def counted(packets):
            nonlocal count, end
            for packet in packets:
                if packet.size and not packet.is_discard:
                    count += 1
                    stamp = _stamp(stream, packet)
                    if stamp is not None:
                        end = max(end, (stamp, packet.duration or 0))
                yield packet

        packets = counted(packets)
        frame = next(_decoded(stream, packets), None)
        # In AVI, a frame has the time of the packet with which it comes out.
        waiting = count - 1 if _is_avi(stream) else 0
        for _ in packets:
            pass
        if frame is None:
            raise VideoError("the video has no frames")
        origin = _stamp(stream, frame)
        if not timed or origin is None:
            return count * interval
        stamp, seconds = end
        return (
            (stamp - origin) * stream.time_base
            + waiting * interval
            + (seconds * stream.time_base or interval)
        )


def find_start(
    path: str | os.PathLike, start: Fraction
) -> tuple[Fraction | None, int | None, int]:
    """Returns (origin, target, skipped): from where `start` can be read.

    `origin` is the time stamp of the first frame in seconds; it is None where
    the file must be read from its beginning. `target` is what to seek, in
    units of the stream's time stamps, if it is not None; and so many packets
    need not be decoded.
    """
    whole = None, None, 0
    if not start:
        return whole
    with open_video(path) as stream:
        time_base = stream.time_base
        packets, timed = _timed_packets(stream)
        # The times of AVI are those of its packets, in the order of decoding.
        if _is_avi(stream) or not timed:
            return whole
        frame = next(_decoded(stream, packets), None)
    if frame is None or _stamp(stream, frame) is None:
        return whole
    origin = _stamp(stream, frame) * frame.time_base
    # A whole frame is made of two fields with the help of the frame before.
    latest = origin + start
    if frame.interlaced_frame:
        latest -= nominal_interval(stream)
    for target, skipped in _places(path, stream, latest, time_base):
        if _can_begin(path, target, skipped, latest):
            return origin, target, skipped
    return whole


def nominal_interval(stream: Any) -> Fraction:
    """Returns the seconds between two frames, as the file declares them."""
    return 1 / Fraction(stream.average_rate or 25)


def starts_over(stream: Any) -> bool:
    """Whether the clock of files of this format can start over, or jump."""
    return _has_flag(stream, "ts_discont")


def has_no_times(stream: Any) -> bool:
    """Whether files of this format have no time stamps: FFmpeg makes them."""
    return _has_flag(stream, "no_timestamps")


def _check_whole(stream, interval, origin, end):
    container = stream.container
    if starts_over(stream):
        return  # what is declared are the first and the last time stamp
    if stream.duration is not None:
        declared = stream.duration * stream.time_base
    elif container.duration is not None and len(container.streams) == 1:
        declared = Fraction(container.duration, 1_000_000)
    else:
        return
    # Some formats count from zero, others from the first frame.
    missing = declared - max(end, origin + end)
    if missing > max(3 * interval, declared / 50):
        raise VideoError(
            "the video is truncated: its frames end after "
            f"{float(end):.2f} of {float(declared):.2f} seconds"
        )


def _places(path, stream, latest, time_base):
    """Yields (target, skipped) of where frames up to `latest` may begin."""
    if starts_over(stream):
        # What FFmpeg would seek is the clock of the file.
        for skipped in _keyframes(path, latest)[::-1]:
            yield None, skipped
        return
    # Some demuxers seek times of decoding, some not a keyframe: the second
    # try is for where the first one skips `latest`.
    for time in (latest, latest - 10):
        target = math.floor(time / time_base)
        if target < 2**62:  # FFmpeg takes no other number
            yield target, 0


def _keyframes(path, latest):
    """Returns how many packets precede the last two keyframes by `latest`."""
    found = []
    with open_video(path) as stream:
        for count, packet in enumerate(_packets(stream)):
            if packet.dts is not None:
                if packet.dts * stream.time_base > latest:
                    break
                stamp = _stamp(stream, packet) * stream.time_base
                if packet.is_keyframe and stamp <= latest:
                    found = [*found[-1:], count]
    return found


def _can_begin(path, target, skipped, latest):
    """Whether decoding from a place gives a keyframe, and nothing later."""
    av = import_av()
    try:
        with open_video(path) as stream:
            if target is not None:
                stream.container.seek(target, stream=stream)
            packets = itertools.islice(_packets(stream), skipped, None)
            frame = next(_decoded(stream, packets), None)
    except av.FFmpegError:
        return False
    # Without keyframes (intra refresh) what decodes is not exact.
    return (
        frame is not None
        and frame.pict_type == av.video.frame.PictureType.I
        and _stamp(stream, frame) is not None
        and _stamp(stream, frame) * frame.time_base <= latest
    )


def _timed_packets(stream):
    """Returns the packets of a stream, and whether their stamps tell times."""
    packets = _packets(stream)
    if has_no_times(stream):
        return packets, False
    first = list(itertools.islice(packets, _FIRST_PACKETS))
    stamps = [_stamp(stream, packet) for packet in first if packet.size]
    timed = len(set(stamps)) > 1 or len(stamps) == 1
    return itertools.chain(first, packets), timed


def _packets(stream):
    """Yields the packets of a stream, whose time goes on.

    Where, in formats that allow it, the clock starts over or jumps, it goes on
    with the end of the packet before: of the video or of the sound that is
    played with it, whichever comes first.
    """
    container = stream.container
    streams, clock = [stream], _OneClock()
    if starts_over(stream):
        clock = _ClockThatStartsOver()
        sound = container.streams.best("audio", related=stream)
        if sound is not None:
            streams.append(sound)
    for packet in container.demux(*streams):
        clock.pass_on(packet)
        if packet.stream is stream:
            yield packet
            if not packet.size and packet.dts is None:
                # The last one. PyAV fails after it, if streams have begun of
                # which the beginning of the file did not tell.
                return


class _OneClock:
    """Makes sure that the times of packets go on."""

    def __init__(self):
        self._last = -math.inf

    def pass_on(self, packet):
        if packet.dts is None:
            return
        if packet.dts < self._last:
            back = (self._last - packet.dts) * packet.time_base
            if back > _LONGEST_STEP_BACK_OF_ONE_CLOCK:
                raise VideoError(
                    f"its time stamps start over, {float(back):.2f} seconds "
                    "back, as where files were joined byte by byte: join them "
                    "with FFmpeg's concat demuxer"
                )
        self._last = packet.dts


class _ClockThatStartsOver:
    """Moves times of packets: they go on where the clock does not."""

    def __init__(self):
        self._seconds = Fraction(0)
        self._before = {}

    def pass_on(self, packet):
        unit, stream = packet.time_base, packet.stream_index
        if packet.dts is not None:
            time = packet.dts * unit + self._seconds
            last, due = self._before.get(stream, (time, time))
            if (
                abs(time - due) > _LONGEST_PAUSE
                or time + _LONGEST_STEP_BACK < last
            ):
                self._seconds += due - time
                time = due
            self._before[stream] = time, time + (packet.duration or 0) * unit
            packet.dts += round(self._seconds / unit)
        if packet.pts is not None:
            packet.pts += round(self._seconds / unit)
            if packet.dts is not None:
                # FFmpeg may take the time of showing from the next clock.
                ahead = (packet.pts - packet.dts) * unit
                if not 0 <= ahead <= _LONGEST_PAUSE:
                    packet.pts = None


def _decoded(stream, packets):
    """Yields the frames of packets.

    A recording may begin between keyframes: what cannot be decoded there is
    not shown.
    """
    av = import_av()
    problem = None
    begun = False
    for packet in packets:
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            if begun or not starts_over(stream):
                raise
            problem = error
            continue
        for frame in frames:
            begun = True
            yield frame
    if problem is not None and not begun:
        raise problem


def _stamp(stream, timed):
    """Returns the time stamp of a packet or a frame, or None."""
    # FFmpeg makes up the times of showing in AVI, wrong for reordered frames.
    # Its times of decoding are exact, and jump where chunks are empty.
    if timed.pts is None or _is_avi(stream):
        return timed.dts
    return timed.pts


def _is_avi(stream):
    return stream.container.format.name == "avi"


def _has_flag(stream, name):
    flag = import_av().format.Flags[name].value
    return bool(stream.container.format.flags & flag)
