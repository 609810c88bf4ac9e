"""Ctrl-C where a library would make something else of it."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

_AGAIN = 0.05  # seconds


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises `KeyboardInterrupt` after Ctrl-C, whatever comes of it.

    Keras builds a model within `try` and a bare `except`, which goes on; Python
    goes on where it frees memory; NumPy says that it is badly installed if its
    import is interrupted. So Ctrl-C is given again until it is on its way, and
    any error after it is a `KeyboardInterrupt`.
    """
    main_thread = threading.main_thread()
    if (
        threading.current_thread() is not main_thread
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    pressed = []
    over = threading.Event()

    def note(number, frame):
        pressed.append(number)
        signal.default_int_handler(number, frame)

    def give_again():
        while not over.wait(_AGAIN):
            if pressed and not _on_its_way(main_thread.ident):
                signal.pthread_kill(main_thread.ident, signal.SIGINT)

    def until_then(lost):
        if not pressed:  # what is freed then may be half done
            hook(lost)

    watcher = threading.Thread(target=give_again, daemon=True)
    watcher.start()
    hook, sys.unraisablehook = sys.unraisablehook, until_then
    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
    if pressed:
        raise KeyboardInterrupt


def _on_its_way(thread):
    """Whether the exception that a thread handles came of Ctrl-C."""
    error = sys._current_exceptions().get(thread)
    if isinstance(error, tuple):  # until Python 3.12
        error = error[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
