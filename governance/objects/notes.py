"""What a clinician notes on a plan, encrypted for whoever can open the plan.

The key follows from the salt of the plan's commitment, which only its readers have: nobody has to
keep another key, and who may read the plan may read the notes.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.errors import MessageRefused
from governance.rules.encoding import canonical

_NONCE = 12  # bytes


def seal_notes(salt: bytes, run: bytes, attempt: int, text: bytes) -> bytes:
    """12 random bytes || AES-256-GCM of the text; `salt`: 32 bytes, of the plan's commitment."""
    nonce, context = secrets.token_bytes(_NONCE), _context(run, attempt)
    return nonce + AESGCM(_key(salt, context)).encrypt(nonce, text, context)


def open_notes(salt: bytes, run: bytes, attempt: int, sealed: bytes) -> bytes:
    """The text. Raises MessageRefused for notes on another plan, or altered ones."""
    context = _context(run, attempt)
    try:
        return AESGCM(_key(salt, context)).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
    except (InvalidTag, ValueError):
        raise MessageRefused(
            "the notes are not on this plan, or were altered", "fetch plan and notes again"
        ) from None


def _context(run: bytes, attempt: int) -> bytes:
    return canonical(b"volens/plan-notes/1", run, attempt)


def _key(salt: bytes, context: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, context).derive(salt)
