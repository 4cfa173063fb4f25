"""The bucket that the settings name: one of Google Cloud Storage, or an emulator's."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from api.errors import UsageError
from api.operate.settings import Settings
from governance.objects.vault import Bucket

GOOGLE = "gs://"
_ADDRESSES = (
    "gs://NAME for a bucket of Google Cloud Storage, or http://HOST:PORT for an emulator of it"
)
# Names without the dots that stand for a domain (https://cloud.google.com/storage/docs/buckets).
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


def open_bucket(settings: Settings) -> Bucket:
    """The bucket at the address of the settings or of run.json. Asks nothing yet.

    Raises NotServing where there is no address, UsageError for one that names no bucket.
    """
    url = settings.address("bucket")
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme in ("http", "https") and urlsplit(url).hostname:
        return Bucket(settings.bucket_name, url)
    if scheme != "gs":
        raise UsageError(
            f"VOLENS_BUCKET_URL is no address of a bucket: {_shown(url)}", "set it to " + _ADDRESSES
        )
    name = rest.removeprefix("//")
    if not name:
        raise UsageError(
            "VOLENS_BUCKET_URL names no bucket: the name after gs:// is missing",
            "set it to " + _ADDRESSES,
        )
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            "VOLENS_BUCKET_URL names no bucket: after gs:// stands its name alone, in small letters, "
            "digits, dashes, underscores and dots",
            "set it to gs://NAME, with the name as Google Cloud Storage lists it",
        )
    return Bucket(
        name,
        project=settings.bucket_project or None,
        endpoint=settings.bucket_endpoint or None,
    )


def _shown(url: str) -> str:
    """What of an address may be printed: a user name or password may stand in it."""
    scheme, colon, rest = url.partition(":")
    if not colon or (rest and not rest.startswith("//")):
        return "it begins with neither gs:// nor http://"
    if scheme in ("http", "https"):
        return f"{scheme}:// without a host"
    return f"{scheme}:// is of another kind of storage, and only Google Cloud Storage is supported"
