"""The one exception that users are meant to read."""


class GenderClsError(Exception):
    """One sentence that names the file, key or value at fault and the way out.

    Commands print it without a traceback and exit with code 1.
    """
