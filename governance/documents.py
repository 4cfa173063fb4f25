"""Documents: the public texts that describe datasets and permits, kept under their hash.

The ledger has a document's sha256 only (`documentHash`). Its text lies in the bucket under that
hash, so nobody has to be believed about it: it is hashed again whenever it is read.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, exists, or_, select

from governance.errors import BucketUnavailable, NotFound, ObjectAltered, RequestInvalid
from governance.objects.vault import DOCUMENT, Bucket
from governance.readmodel.tables import Dataset, Permit

MAX_DOCUMENT = 64 << 10  # bytes
MAX_TITLE = 120  # characters
_TITLES, _TEXTS = 10_000, 64  # that a process remembers
_MISSING_SECONDS = 10.0  # before a missing text is looked for again
MOST_CELLS = 20_000  # of all tables: Markdown fills up rows, so few bytes can make very many
_HEADING = "# "
# A line that makes what follows a table, also within quotes and lists.
_TABLE = re.compile(r"^[ \t>*+\-0-9.)]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_JOINERS = "\u200c\u200d"  # scripts such as Persian need them, one between two letters
# A letter carries few marks; stacks of them cover the lines above.
_MOST_MARKS = 4
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # of variants
# Control, formatting (of these the writing direction can be turned), surrogate, private use, and
# line separators: what is shown must be what is there.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Letters and marks that show nothing: Hangul fillers, a blank Braille cell, joiners of graphemes.
_BLANK = "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f"


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was checked: `digest` is its sha256 in hex, `title` its first heading."""

    digest: str
    title: str
    text: str


def read_document(data: bytes) -> Document:
    """The document of these bytes. Raises RequestInvalid, which says what a document looks like."""
    if len(data) > MAX_DOCUMENT:
        raise RequestInvalid(
            f"the document is larger than {MAX_DOCUMENT >> 10} KiB",
            "describe in short, and name where the rest can be read",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestInvalid(
            "the document is not text in UTF-8", "save it as plain text or Markdown, in UTF-8"
        ) from None
    line = text.replace("\r\n", "\n").partition("\n")[0]
    title = line.removeprefix(_HEADING).strip()
    if not line.startswith(_HEADING) or not 0 < len(title) <= MAX_TITLE:
        raise RequestInvalid(
            "the document does not begin with its title",
            f"write `# TITLE` in its first line, in at most {MAX_TITLE} characters",
        )
    plain = text.replace("\r\n", "\n")
    check_readable(plain.replace("\n", "").replace("\t", ""), "the document")
    if not any(character.isalnum() for character in title):
        raise RequestInvalid("the document's title has no letter", "write `# TITLE` in words")
    if _cells(plain) > MOST_CELLS:
        raise RequestInvalid(
            f"the document's tables have more than {MOST_CELLS} cells",
            "make them smaller, or describe them in words",
        )
    return Document(sha256(data).hexdigest(), title, text)


def _cells(text: str) -> int:
    """At most how many cells the tables of a Markdown text have: rows times columns."""
    total = columns = 0
    for line in text.split("\n"):
        if not line.strip(" \t>"):
            columns = 0
        elif "-" in line and _TABLE.fullmatch(line):
            columns = line.count("|") + 1
        total += columns
    return total


def check_readable(text: str, what: str) -> None:
    """Raise RequestInvalid if the text holds a character that nobody sees, e.g. one that turns the
    writing direction.
    """
    kinds = [unicodedata.category(character) for character in text]
    marks = 0
    for at, (character, kind) in enumerate(zip(text, kinds, strict=True)):
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        hidden = kind in _UNSEEN
        if character in _JOINERS:
            around = kinds[at - 1 : at] + kinds[at + 1 : at + 2]
            hidden = len(around) < 2 or around[0][0] not in "LM" or around[1][0] != "L"
        if hidden or character in _BLANK or marks > _MOST_MARKS or _SELECTORS.match(character):
            raise _unseen(what, character)


def _unseen(what: str, character: str) -> RequestInvalid:
    return RequestInvalid(
        f"{what} holds a character that nobody can see (U+{ord(character):04X})",
        "take it out, and send it again",
    )


def is_named(engine: Engine, digest: str) -> bool:
    """Whether the ledger names a document with this hash."""
    query = select(
        or_(
            exists().where(Dataset.document == digest),
            exists().where(Permit.document == digest),
        )
    )
    with engine.connect() as connection:
        return bool(connection.execute(query).scalar())


class Documents:
    """The documents in a bucket, and the titles of those that were read last."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket, self._clock = bucket, clock
        self._lock = threading.Lock()
        self._titles: OrderedDict[str, str] = OrderedDict()
        self._texts: OrderedDict[str, Document] = OrderedDict()
        self._missing: OrderedDict[str, float] = OrderedDict()  # until when each counts as missing
        self._away_until = 0.0  # the bucket did not answer: no page waits for titles meanwhile

    def put(self, digest: str, data: bytes) -> Document:
        """Store a document under its hash; a second time changes nothing.

        The caller MUST have checked that the ledger names it: else anybody could fill the bucket.
        Raises RequestInvalid, BucketUnavailable.
        """
        document = read_document(data)
        if document.digest != digest:
            raise RequestInvalid(
                "the text is not the one with this hash", "send exactly the bytes that were hashed"
            )
        self._bucket.put_text(DOCUMENT, bytes.fromhex(digest), data)
        self._remember(document)
        return document

    def find(self, digest: str) -> Document | None:
        """The document with this hash, None while nobody has sent it.

        Raises ObjectAltered (another text than the signed one is never shown), BucketUnavailable.
        """
        with self._lock:
            document = self._texts.get(digest)
        return document or self._read(digest)

    def get(self, digest: str) -> Document:
        """As `find`; raises NotFound while nobody has sent it."""
        document = self.find(digest)
        if document is None:
            raise NotFound(
                "nobody has sent this document yet",
                "ask who wrote it to send it: volens permit document or volens dataset document",
            )
        return document

    def title(self, digest: str) -> str:
        """The title of the document with this hash, "" while it cannot be read."""
        with self._lock:
            if digest in self._titles:
                return self._titles[digest]
            if max(self._missing.get(digest, 0.0), self._away_until) > self._clock():
                return ""
        try:
            document = self._read(digest)
        except BucketUnavailable:
            with self._lock:
                self._away_until = self._clock() + _MISSING_SECONDS
            return ""
        except ObjectAltered:
            return ""
        return document.title if document else ""

    def _read(self, digest: str) -> Document | None:
        data = self._bucket.find_text(DOCUMENT, bytes.fromhex(digest))
        if data is None:
            with self._lock:
                _keep(self._missing, digest, self._clock() + _MISSING_SECONDS, _TITLES)
            return None
        try:
            document = read_document(data)
        except RequestInvalid:
            document = None
        if document is None or document.digest != digest:
            raise ObjectAltered(
                "the bucket's text is not the one that the ledger names", "restore it from a copy"
            )
        self._remember(document)
        return document

    def _remember(self, document: Document) -> None:
        with self._lock:
            self._missing.pop(document.digest, None)
            _keep(self._titles, document.digest, document.title, _TITLES)
            _keep(self._texts, document.digest, document, _TEXTS)


def _keep(known: OrderedDict[str, Any], digest: str, value: object, most: int) -> None:
    known[digest] = value
    while len(known) > most:
        known.popitem(last=False)
