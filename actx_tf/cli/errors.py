"""What a command raises for flags that do not go together."""


class UsageError(Exception):
    """Wrong usage; the message is a sentence about the flags."""
