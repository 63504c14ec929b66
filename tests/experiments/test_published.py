"""The reader of published networks: what it takes, and what it says of what it
does not."""

import re

import pytest

from experiments.plots.published import read_published
from experiments.runs.directory import RunDirectoryError

HEADER = "test_accuracy,nonzero_dense\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "compare.csv"


def test_reads_networks_in_the_order_of_the_file(file):
    file.write_text(f"# From a paper,\n# figure 4b.\n{HEADER}0.99,25128\n0.5,0\n")
    assert read_published(file) == [(0.99, 25_128), (0.5, 0)]


@pytest.mark.parametrize(
    "text",
    [
        "nonzero_dense, test_accuracy\n 300 , 0.9572\n",
        'name,test_accuracy,nonzero_dense\n"a, b",0.9572,3e2\n',
        f"{HEADER}\n# a remark\n0.9572,300\n\n",
        f"{HEADER}0.9572,300",
    ],
    ids=["other order", "other columns", "remarks and empty lines", "no last newline"],
)
def test_reads_what_people_write(text, file):
    file.write_text(text)
    assert read_published(str(file)) == [(0.9572, 300)]


def test_reads_what_spreadsheets_write(file):
    """A byte order mark, and lines that end as in DOS."""
    file.write_bytes(b"\xef\xbb\xbftest_accuracy,nonzero_dense\r\n0.5,7\r\n")
    assert read_published(file) == [(0.5, 7)]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", " is empty; expected a header test_accuracy,nonzero_dense."),
        ("# only this\n", " is empty; expected a header test_accuracy,nonzero_dense."),
        (
            "# that\naccuracy,nonzero_dense\n",
            ", line 2, has no column test_accuracy: it is 'accuracy,nonzero_dense'; "
            "expected a header with test_accuracy,nonzero_dense.",
        ),
        ("0.99,300\n", ", line 1, has no column test_accuracy: it is '0.99,300'; "),
        (HEADER, " ends after its header; expected a line for each network."),
        (
            f"#\n{HEADER}0.9,3\n0.9\n",
            ", line 4, has 1 fields; expected 2, as the header in line 2.",
        ),
        (f"{HEADER}0.9,3,\n", ", line 2, has 3 fields; expected 2, as the header"),
        (f"{HEADER}high,3\n", ", line 2, test_accuracy is 'high'; expected a number."),
        (f"{HEADER}0.9,\n", ", line 2, nonzero_dense is ''; expected a number."),
        (f"{HEADER}nan,3\n", ", line 2, test_accuracy is 'nan'; expected a number."),
        (f"{HEADER}0.9,inf\n", ", line 2, nonzero_dense is 'inf'; expected a number."),
        (
            f"{HEADER}99.02,3\n",
            ", line 2, test_accuracy is 99.02; expected a share from 0 to 1, not per "
            "cent.",
        ),
        (f"{HEADER}-0.1,3\n", ", line 2, test_accuracy is -0.1; expected a share"),
        (
            f"{HEADER}0.9,-3\n",
            ", line 2, nonzero_dense is -3; expected a count, 0 or more.",
        ),
    ],
)
def test_says_what_is_wrong_and_where(text, message, file):
    file.write_text(text)
    with pytest.raises(RunDirectoryError, match="^" + re.escape(f"{file}{message}")):
        read_published(file)


def test_files_that_are_no_text(file):
    with pytest.raises(RunDirectoryError, match=r"^Cannot read .*compare.csv: No such"):
        read_published(file)
    with pytest.raises(RunDirectoryError, match=r"^Cannot read .*: Is a directory"):
        read_published(file.parent)
    file.write_bytes(b"\x89PNG\xff")
    with pytest.raises(
        RunDirectoryError, match=r"compare.csv is not a text file in UT"
    ):
        read_published(file)
