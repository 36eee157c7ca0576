"""In which encoding a file of text is, and which separator its columns have."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tokendrop.errors import UserError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_PACKED = {
    b"\x1f\x8b": "compressed with gzip; unpack it first, with gunzip",
    b"BZh": "compressed with bzip2; unpack it first, with bunzip2",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first, with unxz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first, with unzstd",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"PK\3\4": "a zip archive, or a spreadsheet, which is one; unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet or document of an office; save it as CSV",
}
_POINTER = b"version https://git-lfs.github.com/spec/"
LOOKED_AT = 1000  # bytes at the start of a file
_CHECKED = 2**20  # characters read at once


def encoding_of(file: Path) -> str:
    """UTF-8, or UTF-16 where the file begins with its mark, as spreadsheets write it.

    Raises:
        OSError: it cannot be read.
        UserError: it is UTF-32, UTF-16 without its mark, compressed, a pointer, or no text.
    """
    return encoding_by(start_of(file), file)


def start_of(file: Path) -> bytes:
    """
    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as raw:
        return raw.read(LOOKED_AT)


def encoding_by(start: bytes, file: Path) -> str:
    """The encoding of a file that begins so, see :func:`encoding_of`.

    Raises:
        UserError: as there.
    """
    if start.startswith(_UTF16) and not start.startswith(_UTF32):
        return "utf-16"
    refuse_packed(start, file)
    if b"\0" in start:
        raise UserError(
            f"{file}: neither UTF-8 nor UTF-16 with its mark, but with zero bytes; if it is text, "
            f"write it anew: {_rewriting(start)} {file.name} > utf8{file.suffix}"
        )
    return "utf-8-sig"


def _rewriting(start: bytes) -> str:
    """What makes UTF-8 of a text that begins so, with zero bytes.

    In a wide encoding most characters leave the larger byte of theirs 0, or are no UTF-8; a few
    zero bytes in what else is UTF-8 are there by mistake.
    """
    if start.startswith(_UTF32):
        return "iconv -f UTF-32 -t UTF-8"
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(start)
        if 8 * start.count(0) < len(start):
            return "tr -d '\\000' <"
    large = start[::2].count(0) > start[1::2].count(0)
    return f"iconv -f UTF-16{'BE' if large else 'LE'} -t UTF-8"


def refuse_packed(start: bytes, file: Path) -> None:
    """Raise for a file that begins as a compressed one does, or as what Git has in its place.

    Raises:
        UserError: it does.
    """
    if packed := next((name for mark, name in _PACKED.items() if start.startswith(mark)), None):
        raise UserError(f"{file}: {packed}")
    refuse_pointer(start, file)


def refuse_pointer(start: bytes, file: Path) -> None:
    """Raise for what Git has in the place of a large file.

    Raises:
        UserError: it begins as a pointer does.
    """
    if start.startswith(_POINTER):
        raise UserError(
            f"{file} is a pointer of Git LFS, not the file itself: fetch it with 'git lfs pull'"
        )


def half_a_character(text: str) -> str:
    """The first lone surrogate of a text, which no file and no tokenizer takes; "" without any."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a character, \\u{ord(text[error.start]):04x}, at place {error.start + 1}"
    return ""


@contextmanager
def naming_the_line(file: Path) -> Iterator[None]:
    """Say where a file that is read within is not UTF-8; only then it is read once more.

    Raises:
        UserError: the line.
    """
    try:
        yield
    except UnicodeDecodeError:
        if encoding_of(file) != "utf-16":  # which has no lines that could be looked at alone
            with file.open("rb") as raw:
                for number, line in enumerate(raw, start=1):
                    _check(line, number, file)
        raise


def _check(line: bytes, number: int, file: Path) -> None:
    try:
        line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x}); if it is "
            "Windows-1252 or Latin-1, write it anew: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {file.name} > utf8{file.suffix}"
        ) from error


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        OSError: it cannot be read.
        UserError: it is neither UTF-8 nor UTF-16; a UnicodeDecodeError if UTF-16 is torn.
    """
    with naming_the_line(file):
        return file.read_text(encoding=encoding_of(file))


def check_text(file: Path) -> None:
    """Read a file of text to its end and keep nothing.

    Raises:
        OSError, UserError, UnicodeDecodeError: as :func:`read_text`.
    """
    with naming_the_line(file), file.open(encoding=encoding_of(file)) as text:
        while text.read(_CHECKED):
            pass


def separator_of(file: Path, encoding: str) -> str:
    """What stands between the columns of a CSV, by its first line.

    Spreadsheets write ";" where a comma is part of numbers.
    """
    with file.open(encoding=encoding, newline="") as lines:
        first = re.sub(r'"[^"]*"', "", lines.readline())
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")
