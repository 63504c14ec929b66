"""What can go wrong with data, in two kinds: stop, or try the next way in."""

EXTRA = 'install this project\'s `experiments` extra (pip install -e ".[experiments]")'


class DataError(ValueError):
    """Data that is missing, damaged or asked for wrongly; the run must stop.

    Every message names the culprit, what was found, what was expected and what to do.
    """


class UnavailableError(Exception):
    """One way to the data leads nowhere; its message is the reason, the next is tried.

    The message is a clause without a full stop, so that several make one sentence.
    """
