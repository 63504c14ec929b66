"""How a way to the data ends that leads nowhere: the next is tried."""

EXTRA = 'install this project\'s `experiments` extra (pip install -e ".[experiments]")'


class UnavailableError(Exception):
    """One way to the data leads nowhere; its message is the reason, the next is tried.

    The message is a clause without a full stop, so that several make one sentence.
    """
