"""The one exception that input may raise: it is written for the person who gave the input."""


class InputError(ValueError):
    """Something the caller gave cannot be used. The message says what, in which file or node, and what to do."""
