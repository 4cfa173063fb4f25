"""Read the forms of our own pages: bounded fields and files, names chosen from a list, whole
numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from governance.consent import bits
from governance.errors import RequestInvalid

DEADLINE_SECONDS = 3600  # within which what a page shows must be signed
LARGEST = 256 << 10  # bytes of a form
MOST_FIELDS = 1000
MOST_PARTS = 8  # of a form that sends a file
_LONGEST_HEAD = 2048  # bytes of the headers of one part
# As RFC 7578 and RFC 2046, 5.1.1 have them, and browsers and httpx write them.
_BOUNDARY = re.compile(
    r"^multipart/form-data; *boundary=(?:\"([\w'()+,./:=?-]{1,70})\"|([\w'+.-]{1,70}))$",
    re.I | re.A,
)
_DISPOSITION = re.compile(
    rb"(?im)^content-disposition: form-data; name=\"([^\"\r\n]*)\"; filename=\"[^\"\r\n]+\"\r?$"
)
_MOST_DIGITS = 15  # of a number: more than any that fits


def form_of(body: bytes) -> dict[str, list[str]]:
    """The fields of a form (application/x-www-form-urlencoded), each with its values.

    Raises RequestInvalid.
    """
    try:
        if len(body) > LARGEST:
            raise ValueError
        return parse_qs(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise RequestInvalid(
            "the form is too large, or is none of this page", "open the page again"
        ) from None


def file_in(content_type: str, body: bytes, name: str) -> bytes:
    """The bytes of the file that a form (multipart/form-data) sends under this name.

    Raises RequestInvalid.
    """
    # Not by a parser of mail: parts within parts and headers without end cost it minutes.
    boundary = _BOUNDARY.search(content_type)
    if boundary is not None and len(body) <= LARGEST:
        between = b"\r\n--" + (boundary[1] or boundary[2]).encode("ascii")
        for part in (b"\r\n" + body).split(between, MOST_PARTS + 1)[1 : MOST_PARTS + 1]:
            head, empty_line, data = part.partition(b"\r\n\r\n")
            disposition = _DISPOSITION.search(head) if len(head) <= _LONGEST_HEAD else None
            if empty_line and disposition is not None and disposition[1] == name.encode("ascii"):
                return data
    raise RequestInvalid("the form sends no file, or one that is too large", "choose the file")


def number_in(
    given: Mapping[str, Sequence[str]], name: str, least: int, most: int, what: str
) -> int:
    """A whole number within limits. Raises RequestInvalid, which says `what` is missing."""
    return number_from(given.get(name, [""])[0], least, most, what)


def number_from(text: str, least: int, most: int, what: str) -> int:
    """The number that a person wrote, within limits. Raises RequestInvalid, which names `what`."""
    text = text.strip()
    digits = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not digits or not least <= int(text) <= most:
        raise RequestInvalid(
            f"{what} is a whole number from {least} to {most}", "write it in digits"
        )
    return int(text)


def chosen_mask(
    given: Mapping[str, Sequence[str]], name: str, table: Mapping[str, int], what: str
) -> int:
    """The bits of the boxes that were ticked. Raises RequestInvalid."""
    chosen = given.get(name, [])
    if not chosen:
        raise RequestInvalid(f"the form does not say {what}", "tick at least one box")
    return bits(chosen, table)
