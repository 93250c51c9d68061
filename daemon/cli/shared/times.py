"""Times on the command line. `1h`, `1h30m` or RFC 3339 in, moments out; moments in, texts out. Pure but for `now`."""

import re
from datetime import UTC, datetime, timedelta

import click

from ...client.events import InvalidEvent, parse_timestamp_ns

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_SPAN = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_span(text: str) -> timedelta | None:
    """`90s`, `1h30m`, `2d`: units from the largest to the smallest. None when it is none."""
    match = _SPAN.fullmatch(text)
    if match is None or not text:
        return None
    try:
        return timedelta(
            **{_UNITS[unit]: int(count) for unit, count in zip("wdhms", match.groups(), strict=True) if count}
        )
    except OverflowError:
        return None


class Span(click.ParamType):
    """A length of time."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        span = value if isinstance(value, timedelta) else parse_span(str(value))
        if span is None:
            self.fail(f"{value!r} is no length of time: write 90s, 30m, 1h30m, 7d or 2w", param, ctx)
        return span


class Moment(click.ParamType):
    """A moment: RFC 3339, or as long ago as a length of time says."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            span = parse_span(str(value))
            if span is not None:
                return datetime.now(UTC) - span
            return _EPOCH + timedelta(microseconds=parse_timestamp_ns(str(value)) // 1000)
        except (InvalidEvent, OverflowError):
            self.fail(f"{value!r} is no time: write 1h, 1h30m, 7d (ago), or 2026-11-24T09:00:00Z", param, ctx)


def from_ns(time_ns: int, local: bool) -> datetime:
    """A moment in UTC, or in the zone of this machine."""
    moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    try:
        return moment.astimezone() if local else moment
    except OverflowError:  # the ends of the calendar have no other zone
        return moment


def of_day(moment: datetime) -> str:
    """`09:12:01.003`."""
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def of_date(moment: datetime) -> str:
    """`2026-11-24 UTC`."""
    return f"{moment:%Y-%m-%d} {moment.tzname()}"


def length(time_ns: int) -> str:
    """`412.30 ms`, `2.50 s`, `3 min 07 s`: with as much as can be told apart."""
    milliseconds = time_ns / 1e6
    if milliseconds < 1000:
        return f"{milliseconds:.2f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
