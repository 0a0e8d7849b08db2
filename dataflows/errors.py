"""The one exception for input a user can mend."""


class InputError(ValueError):
    """Unusable input: one message saying what was found, where, and what to do.

    Command lines print the message alone and exit with status 2.
    """
