"""Calendar dates as days since 1970-01-01, without a clock.

The algorithm is that of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", for the
proleptic Gregorian calendar.
"""

from __future__ import annotations


def day_of(text: str) -> int:
    """The day of "2026-11-30". Raises ValueError if it is no date of the calendar."""
    year, month, day = (int(part) for part in text.split("-"))
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    if date_of(days) != text:
        raise ValueError("not a date of the calendar")
    return days


def date_of(day: int) -> str:
    """The date of a day, as "2026-11-30"."""
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return (
        f"{year + era * 400 + (month <= 2):04d}-{month:02d}-"
        f"{of_year - (153 * shifted + 2) // 5 + 1:02d}"
    )


def year_of(day: int) -> int:
    """The calendar year of a day."""
    return int(date_of(day)[:4])
