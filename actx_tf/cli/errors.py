"""What commands raise for `main`."""


class UsageError(Exception):
    """Wrong usage; the message is a sentence about the flags."""


class Ended(KeyboardInterrupt):
    """Ctrl-C where that is how a command ends: nothing is left undone."""
