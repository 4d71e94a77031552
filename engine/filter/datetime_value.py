"""Datetimes in payloads, filters and orders: the wire format's forms, as microseconds since 1970 UTC."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_PER_MINUTE = 60_000_000

# Date; with minutes; with seconds; and only then a fraction and an offset. One-digit fields and any white
# space between the parts pass, as they do in the reference client.
_FORM = re.compile(
    r"\s*(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:(?:[Tt]|\s+)(\d{1,2}):(\d{1,2})"
    r"(?::(\d{1,2})(?:\.(\d+))?(?:\s*(?:(?P<utc>[Zz]|\bUTC)|(?P<sign>[+-])(\d\d)(?::?([0-5]\d))?))?)?)?",
    re.ASCII,
)


def to_microseconds(value: datetime) -> int:
    """Microseconds since 1970-01-01 UTC; a datetime without a time zone is UTC."""
    if value.utcoffset() is not None:
        value = value.astimezone(UTC)
    return (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND


def parse_microseconds(text: str) -> int | None:
    """Microseconds since 1970-01-01 UTC of a datetime string; None when it is not one.

    Understood are `2024-06-15`, `2024-06-15T12:30` and `2024-06-15T12:30:00.123456+02:00`, with `T` or a
    space, any number of decimals (cut at microseconds), and `Z`, ` UTC`, `+02:00`, `+0200` or `+02`.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, offset_hours, offset_minutes = found.groups()
    if sign and int(offset_hours) > 23:
        return None
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
            int(fraction[:6].ljust(6, "0")) if fraction else 0,
        )  # fmt: skip
    except ValueError:
        return None
    microseconds = (moment - _EPOCH) // _MICROSECOND
    if sign:
        offset = (int(offset_hours) * 60 + int(offset_minutes or 0)) * _MICROSECONDS_PER_MINUTE
        microseconds -= offset if sign == "+" else -offset
    return microseconds
