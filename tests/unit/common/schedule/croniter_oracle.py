#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""When croniter would run expressions in zones, around the changes of their clocks and far from them: croniter_oracle.py OUT [all] writes it as
JSON for croniter_test.c, which compares: a few expressions a zone, or all of them (minutes; CRON_CASES=OUT gives that to the test).

croniter is asked for wall clock times, without a zone; what a wall clock time means where clocks change is the policy of docs/schedules.md,
written here a second time on zoneinfo: a time that is left out is the first moment after, one that comes twice is the first of the two;
where the hour has a * or a step, each moment counts whose wall clock time fits. croniter with a zone must say the same wherever no clock
changes; how often it differs where one does is told."""

import datetime as dt
import json
import random
import sys
import zoneinfo

from croniter import croniter

EXPRESSIONS = [
    "* * * * *", "*/15 * * * *", "0 * * * *", "30 */2 * * *", "7,37 0-23/3 * * *", "0 0 * * *", "30 2 * * *", "30 1 * * *", "0,30 0-3 * * *",
    "*/20 2 * * *", "59 23 * * *", "0 12 1 * *", "15 10 * * MON-FRI", "0 3 * * SUN", "0 0 1,15 * WED", "0 6 L * *", "5 4 29 2 *", "0 0 31 * *",
    "45 5 */7 JAN,MAR-JUN,oct *", "0 22 * 1-5 1-5", "10 2 * * 7", "0 0 13 * 5", "30 0 1 1 *", "*/30 * * * * *", "15 30 2 * * *", "0 0 */6 * * *",
    "5/10 3 * * *", "0 0 ? * 6",
]
ZONES = [
    "UTC", "Europe/Paris", "Europe/Dublin", "Europe/London", "Europe/Moscow", "Europe/Istanbul", "America/New_York", "America/Los_Angeles",
    "America/Sao_Paulo", "America/St_Johns", "America/Caracas", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Gaza", "Asia/Pyongyang",
    "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham", "Africa/Casablanca", "Africa/Cairo",
    "Antarctica/Troll",
]
YEARS = range(1995, 2066)
TICKS, CHANGES, PLAIN = 30, 4, 1  # a window; windows of an expression in a zone
FEW, FEW_TICKS, FEW_CHANGES = 4, 8, 1
SEED = 20261123
UTC = dt.timezone.utc
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


def seconds(moment):
    return int((moment - EPOCH).total_seconds())


def offset(zone, unix):
    return int(dt.datetime.fromtimestamp(unix, zone).utcoffset().total_seconds())


def change_between(zone, low, high):
    """The first second of the new offset."""
    before = offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return high


def changes(zone):
    weeks = range(seconds(dt.datetime(YEARS[0], 1, 1, tzinfo=UTC)), seconds(dt.datetime(YEARS[-1], 1, 1, tzinfo=UTC)), 14 * 86400)
    offsets = [offset(zone, week) for week in weeks]
    return [change_between(zone, low, high) for low, high, a, b in zip(weeks, weeks[1:], offsets, offsets[1:]) if a != b]


def moments(wall, zone, elapsed):
    """Unix times at which the clocks show this naive time, by the policy."""
    folds = [seconds(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)) for fold in (0, 1)]
    shown = [unix for unix in folds if dt.datetime.fromtimestamp(unix, zone).replace(tzinfo=None, fold=0) == wall]
    if elapsed:
        return set(shown)
    if shown:
        return {min(shown)}
    return {change_between(zone, min(folds) - 1, max(folds))}


def ticks(expression, zone, start, count):
    elapsed = any(c in expression.split()[-4] for c in "*/")
    six = len(expression.split()) == 6
    wall = dt.datetime.fromtimestamp(start, zone).replace(tzinfo=None, fold=0) - dt.timedelta(days=2)
    times, found = croniter(expression, wall, second_at_beginning=six, max_years_between_matches=50), set()
    while True:
        wall = times.get_next(dt.datetime)
        # nothing of a later day comes before what there is
        later = seconds(wall.replace(tzinfo=UTC)) - 30 * 3600
        after = sorted(t for t in found if t > start)
        if len(after) >= count and later > after[count - 1] or wall.year > 2100:
            return after[:count]
        if later > start - 6 * 86400:
            found |= moments(wall, zone, elapsed)


def zoned(expression, zone, start, count):
    six = len(expression.split()) == 6
    times = croniter(expression, dt.datetime.fromtimestamp(start, zone), second_at_beginning=six, max_years_between_matches=50)
    return [seconds(times.get_next(dt.datetime).astimezone(UTC)) for _ in range(count)]


def main(out, every=False):
    windows, count = (CHANGES, TICKS) if every else (FEW_CHANGES, FEW_TICKS)
    rng, cases, differ, same = random.Random(SEED), [], 0, 0
    for name in ZONES:
        zone, when = zoneinfo.ZoneInfo(name), changes(zoneinfo.ZoneInfo(name))
        for expression in EXPRESSIONS if every else rng.sample(EXPRESSIONS, FEW):
            starts = [t - rng.choice([600, 7200, 86400]) for t in rng.sample(when, min(windows, len(when)))]
            starts += [rng.randrange(seconds(dt.datetime(1996, 1, 1, tzinfo=UTC)), seconds(dt.datetime(2060, 1, 1, tzinfo=UTC))) for _ in range(PLAIN)]
            for start in starts:
                expected = ticks(expression, zone, start, count)
                near = any(start - 86400 <= t <= expected[-1] + 86400 for t in when)
                agrees = zoned(expression, zone, start, len(expected)) == expected
                if not agrees and not near:
                    sys.exit(f"croniter differs where no clock changes: {expression!r} {name} from {start}")
                same, differ = same + agrees, differ + (not agrees)
                cases.append({"cron": expression, "zone": name, "start": start, "ticks": expected})
    with open(out, "w") as file:
        json.dump({"cases": cases, "same": same, "differ": differ}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] == ["all"])
