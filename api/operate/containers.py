"""What docker-compose.yml needs beside a deployment's keys: the password of its database."""

from __future__ import annotations

import secrets
from pathlib import Path

from api.errors import UsageError
from governance.objects.keys import replace_private

FOLDER, PASSWORD, PASSFILE = "containers", "database-password", "pgpass"
HOST, PORT, NAME = "127.0.0.1", 5432, "volens"  # as in docker-compose.yml


def write_secrets(home: Path) -> list[Path]:
    """The files of the database's password: for its own container, and for those that call it.

    A password that is there is kept, since the database has it too. Raises UsageError without a
    deployment.
    """
    if not (home / "identity.json").exists():
        raise UsageError("there is no deployment here yet", "make one: volens init")
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    # Containers keep their data in folders that exist, and belong to whoever starts them.
    for name in ("database", "bucket", "broker", "chain"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    password, passfile = folder / PASSWORD, folder / PASSFILE
    if not password.exists():
        replace_private(password, secrets.token_hex(32).encode())
    line = f"{HOST}:{PORT}:{NAME}:{NAME}:{password.read_text(encoding='utf-8')}\n"
    replace_private(passfile, line.encode())
    return [password, passfile]
