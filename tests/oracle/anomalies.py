"""What rules must have found in the minutes of a log, and what a store has of it."""

import csv
import json
import math

MINUTE_MS = 60_000


class Minutes:
    """The minutes of each series that rows were published of, without what came too late for them."""

    def __init__(self):
        self.series = {}

    def add(self, device, metric, minute, value):
        """A reading that is counted, in the log's order; infinite when it is not valid."""
        found = self.series.setdefault((device, metric), {}).setdefault(minute, [0.0, 0, -math.inf])
        if math.isfinite(value):
            found[0] = found[0] + value if found[1] else value
            found[1] += 1
            found[2] = max(found[2], value)

    def heard(self):
        """By device the minutes in which it was heard, ascending."""
        heard = {}
        for (device, _), minutes in self.series.items():
            heard.setdefault(device, set()).update(minutes)
        return {device: sorted(minutes) for device, minutes in heard.items()}


def runs(values, above, hysteresis, enough):
    """Where values are above a limit often enough in a row: first and last minute, worst and first value, is it over."""
    at = 0
    while at < len(values):
        beyond = at
        while beyond < len(values) and values[beyond][1] > above:
            beyond += 1
        if beyond - at < enough:
            at = max(beyond, at + 1)
            continue
        end = beyond
        while end < len(values) and values[end][1] > above - hysteresis:
            end += 1
        worst = max(values[at:end], key=lambda minute: minute[1])
        yield values[at][0], values[end - 1][0], worst, values[at], end < len(values)
        at = end


def expected(minutes, rules, closed_of):
    """What must have been found: (rule, device, metric, start) -> (end, evidence)."""
    wanted = {}
    for name, rule in rules.items():
        lasting = int(rule["for"].removesuffix("m")) if "for" in rule else 1
        if rule["detector"] == "dead_man":
            for device, heard in minutes.heard().items():
                ends = [(end, end * MINUTE_MS) for end in heard[1:]] + [(closed_of(device) + 1, None)]
                for since, (end, ended_at) in zip(heard, ends):
                    if end - since > lasting:
                        wanted[name, device, "", (since + 1) * MINUTE_MS] = (ended_at, {"dead_man": {"minutes": lasting}})
            continue
        of = {"mean": lambda found: found[0] / found[1], "max": lambda found: found[2]}[rule["of"]]
        for (device, metric), found in minutes.series.items():
            if metric != rule["metric"]:
                continue
            values = [(minute, of(one)) for minute, one in sorted(found.items()) if one[1]]
            for first, last, worst, began, is_over in runs(values, rule["above"], rule.get("hysteresis", 0), lasting):
                seen = [{"at": minute * MINUTE_MS, "value": value} for minute, value in (began, worst)]
                evidence = {"of": rule["of"], "low": None, "high": rule["above"], "first": seen[0], "worst": seen[1]}
                ended_at = (last + 1) * MINUTE_MS if is_over else None
                wanted[name, device, metric, first * MINUTE_MS] = (ended_at, {"threshold": evidence})
    return wanted


def stored(path):
    """What a store has, but for what was withdrawn."""
    found = {}
    with open(path) as file:
        for row in csv.DictReader(file):
            if row["status"] == "withdrawn":
                continue
            ended_at = int(row["ended_at"]) if row["ended_at"] else None
            key = (row["rule"], row["device_id"], row["metric"], int(row["started_at"]))
            if (row["status"] == "cleared") != (ended_at is not None):
                raise ValueError(f"{key} is {row['status']}, and ended at {ended_at}")
            found[key] = (ended_at, json.loads(row["evidence"]))
    return found


def problems(wanted, found):
    """What differs."""
    lost = [key for key in wanted if key not in found]
    invented = [key for key in found if key not in wanted]
    wrong = [(key, wanted[key], found[key]) for key in wanted if key in found and wanted[key] != found[key]]
    named = [("are not stored", lost), ("are invented", invented), ("are wrong", wrong)]
    return [f"anomalies {what}: {len(which)}, such as {which[:3]}" for what, which in named if which]
