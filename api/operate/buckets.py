"""The bucket that the settings name: one of Google Cloud Storage, or an emulator's."""

from __future__ import annotations

import re

from api.errors import UsageError
from api.operate.settings import Settings
from governance.objects.vault import Bucket

GOOGLE = "gs://"
# Names without the dots that stand for a domain (https://cloud.google.com/storage/docs/buckets).
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


def open_bucket(settings: Settings) -> Bucket:
    """The bucket at the address of the settings or of run.json. Asks nothing yet.

    Raises NotServing where there is no address, UsageError for the name of no bucket.
    """
    url = settings.address("bucket")
    if not url.startswith(GOOGLE):
        return Bucket(settings.bucket_name, url)
    name = url.removeprefix(GOOGLE)
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            "VOLENS_BUCKET_URL names no bucket: after gs:// stands its name alone",
            "set it to gs://NAME, with the name as Google Cloud Storage lists it",
        )
    return Bucket(
        name,
        project=settings.bucket_project or None,
        endpoint=settings.bucket_endpoint or None,
    )
