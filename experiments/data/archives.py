"""Gzipped tar archives, read in memory, mistrusting all of them.

Nothing is extracted, so a hostile path or link could do no harm; it is still refused,
for no honest archive of images has one.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from experiments.data import files

# Bytes that an archive may hold beside the files it is read for: texts and headers.
REST = 1_000_000


def read(
    packed: bytes, sizes: Mapping[str, int], packed_size: int | None = None
) -> dict[str, memoryview]:
    """Reads some files out of a gzipped tar archive.

    Args:
      packed: the archive.
      sizes: name in the archive -> size in bytes of each file that is wanted.
      packed_size: how many bytes the archive should be, for the messages, if known.

    Returns:
      Name in the archive -> content.

    Raises:
      files.WrongError: truncated or corrupt gzip or tar; more or larger files than
        expected, or missing ones; links, devices, paths that lead out of it.
    """
    limit = sum(sizes.values()) + REST
    unpacked = files.unpack(packed, packed_size, limit + 1)
    if len(unpacked) > limit:
        raise files.WrongError(
            f"wrong size: found more than {limit} bytes in the gzip data, expected at "
            "most these."
        )
    try:
        found = _members(unpacked, sizes)
    # What tarfile raises on crafted headers beside its own errors.
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise files.WrongError(
            f"damaged: expected an intact tar archive, found: {error}."
        ) from None
    missing = [name for name in sizes if name not in found]
    if missing:
        raise files.WrongError(
            f"incomplete: {', '.join(missing)} not found, expected in the archive."
        )
    return found


def _members(unpacked: bytes, sizes: Mapping[str, int]) -> dict[str, memoryview]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
        for member in archive:
            _check(member, sizes.get(member.name))
            if member.name in sizes:
                end = member.offset_data + member.size
                found[member.name] = memoryview(unpacked)[member.offset_data : end]
    return found


def _check(member: tarfile.TarInfo, size: int | None) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        wrong = "found a path out of the archive, expected one inside"
    elif member.issym() or member.islnk():
        wrong = f"found a link to {member.linkname!r}, expected a file or a folder"
    # A sparse file holds less data than its size says.
    elif not (member.isdir() or member.isreg()) or member.issparse():
        wrong = "found a device or a special file, expected a file or a folder"
    elif size is not None and member.size != size:
        wrong = f"found {member.size} bytes, expected {size}"
    elif size is None and not 0 <= member.size <= REST:
        wrong = f"found {member.size} bytes, expected at most {REST} in any other file"
    else:
        return
    raise files.WrongError(f"member {member.name!r}: {wrong}.")
