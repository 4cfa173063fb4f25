"""Shell completion of values: names of keys in the home, roles, presets, purposes and the like.

It answers a key press, so it reads files of this machine only, and says nothing where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]


def key_names(incomplete: str) -> list[str]:
    """The names of the keys in the home folder."""
    from api.errors import ApiError
    from api.operate.settings import NAME, read_settings

    try:
        names = [path.stem for path in (read_settings().home / "keys").glob("*.json")]
    except (ApiError, OSError):
        return []
    return _beginning(incomplete, filter(NAME.fullmatch, names))


def role_names(incomplete: str) -> list[str]:
    from chain.vocabulary import Role

    return _beginning(incomplete, (role.slug for role in Role))


def preset_names(incomplete: str) -> list[str]:
    from governance.consent import PRESETS

    return _beginning(incomplete, PRESETS)


def purpose_names(incomplete: str) -> list[str]:
    """Several are separated by commas: the last one is completed."""
    from chain.vocabulary import Purpose

    return _last_of(incomplete, (purpose.slug for purpose in Purpose))


def category_names(incomplete: str) -> list[str]:
    """Several are separated by commas: the last one is completed."""
    from chain.vocabulary import Category

    return _last_of(incomplete, (category.slug for category in Category))


def output_names(incomplete: str) -> list[str]:
    """Several are separated by commas: the last one is completed."""
    from governance.permits import OUTPUTS

    return _last_of(incomplete, OUTPUTS)


def choices(names: Iterable[str]) -> Complete:
    """Completion among a few fixed names."""
    fixed = tuple(names)
    return lambda incomplete: _beginning(incomplete, fixed)


def _last_of(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    chosen = before.split(",")
    return [
        before + comma + name for name in _beginning(last, names) if not comma or name not in chosen
    ]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
