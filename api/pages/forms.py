"""Read the forms of our own pages: bounded fields and files, names chosen from a list, whole
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qs

from governance.consent import bits
from governance.errors import RequestInvalid

DEADLINE_SECONDS = 3600  # within which what a page shows must be signed
LARGEST = 256 << 10  # bytes of a form
MOST_FIELDS = 1000
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
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    small = len(body) <= LARGEST and "\n" not in content_type
    sent = BytesParser(policy=HTTP).parsebytes(head + body) if small else None
    for part in sent.iter_parts() if sent is not None and sent.is_multipart() else ():
        data = part.get_payload(decode=True)
        if (
            part.get_param("name", header="content-disposition") == name
            and part.get_filename()
            and isinstance(data, bytes)
        ):
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
