"""Recomputes what must have come out of a topic, and compares it with what sinks hold.

It shares nothing with the engine: the rules of the log are a loop, windows are SQL on DuckDB. The argument is a folder
that the fault harness has filled; the verdict goes to the output as JSON.
"""

import hashlib
import json
import math
import pathlib
import sys
import tomllib

import duckdb

import anomalies
from archive import Archive

LATENESS_MS = 10_000
HORIZON_MS = 15 * 60_000
FUTURE_MAX_MS = 10 * 60_000
REMEMBERED = 8
MINUTE_MS = 60_000
# The longest window that is combined from minutes; until it is closed and beyond the horizon a minute can change.
REACH_MINUTES = 5
JOBS = {"minute": 1, "five_minutes": 5, "hour": 60, "day": 24 * 60}
COLUMNS = {
    "device_id": "VARCHAR", "metric": "VARCHAR", "window_start": "BIGINT", "count": "BIGINT", "sum": "DOUBLE",
    "min": "DOUBLE", "max": "DOUBLE", "first": "DOUBLE", "last": "DOUBLE", "mean": "DOUBLE", "stddev": "DOUBLE",
    "p50": "DOUBLE", "p95": "DOUBLE", "p99": "DOUBLE", "invalid_count": "BIGINT", "status": "VARCHAR",
    "revision": "BIGINT",
}
VALUES = [name for name in COLUMNS if name not in ("status", "revision")]
KEY = "device_id, metric, window_start"
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
# Exact up to so many readings, above within this part of the value.
EXACT_READINGS = 16
QUANTILE_ERROR = 1 / 64


class Oracle:
    """One folder's ledger and outputs."""

    def __init__(self, folder):
        self.folder = folder
        self.db = duckdb.connect()
        self.problems = []
        self.letters = {}
        self.counts = dict.fromkeys(
            ["records", "accepted", "late", "stragglers", "duplicates", "dead_letters", "heartbeats", "windows", "rows",
             "anomalies"], 0)
        self.minutes, self.clocks, self.homes = anomalies.Minutes(), {}, {}

    def wrong(self, text):
        self.problems.append(text)

    def none_of(self, what, query):
        """A query that must find nothing."""
        found = self.db.execute(query).fetchall()
        if found:
            self.wrong(f"{what}: {len(found)}, such as {found[:3]}")

    def read_ledger(self):
        """Applies the rules of the log, record by record, and writes what is accepted as readings."""
        clocks, expected, remembered = self.clocks, {}, {}
        sums = {}
        counts = self.counts
        with open(self.folder / "ledger.tsv") as ledger, open(self.folder / "readings.tsv", "w") as out:
            for line in ledger:
                partition, offset, log, device, ts, metrics, _ = line.rstrip("\n").split("\t")
                partition, offset, log, ts = int(partition), int(offset), int(log), int(ts)
                counts["records"] += 1
                if expected.get(partition, 0) != offset:
                    self.wrong(f"the ledger goes from {expected.get(partition, 0)} to {offset} in {partition}")
                expected[partition] = offset + 1
                if not device:
                    self.letters[partition, offset] = "schema"
                    continue
                if ts - log > FUTURE_MAX_MS:
                    self.letters[partition, offset] = "future"
                    continue
                clock = max(clocks.get(partition, -math.inf), min(ts, log))
                clocks[partition] = clock
                watermark, minute = clock - LATENESS_MS, ts // MINUTE_MS
                if not metrics:
                    counts["heartbeats"] += 1
                    continue
                last = remembered.setdefault(device, [])
                if (ts, metrics) in last:
                    counts["duplicates"] += 1
                    continue
                last.append((ts, metrics))
                del last[:-REMEMBERED]
                is_straggler = (minute + REACH_MINUTES) * MINUTE_MS <= watermark - HORIZON_MS
                counts["stragglers" if is_straggler else "accepted"] += 1
                counts["late"] += (minute + 1) * MINUTE_MS <= watermark and not is_straggler
                self.homes[device] = partition
                for metric in metrics.split(";"):
                    name, text = metric.split("=")
                    value = float(text)
                    if not is_straggler:
                        self.minutes.add(device, name, minute, value)
                    if math.isfinite(value):
                        key = (device, name, minute * MINUTE_MS)
                        sums[key] = sums[key] + value if key in sums else value
                    else:
                        text = ""
                    out.write(f"{device}\t{name}\t{ts}\t{offset}\t{text}\t{watermark}\n")
        with open(self.folder / "sums.tsv", "w") as out:
            for (device, name, start), value in sums.items():
                out.write(f"{device}\t{name}\t{start}\t{value!r}\n")
        counts["dead_letters"] = len(self.letters)

    def load(self):
        """Reads all files into tables."""
        db, folder = self.db, self.folder
        db.execute(f"""CREATE TABLE readings AS FROM read_csv('{folder}/readings.tsv', delim='\t', header=false,
            columns={{'device_id': 'VARCHAR', 'metric': 'VARCHAR', 'ts': 'BIGINT', 'log_order': 'BIGINT',
                      'value': 'DOUBLE', 'watermark': 'BIGINT'}})""")
        db.execute(f"""CREATE TABLE sums AS FROM read_csv('{folder}/sums.tsv', delim='\t', header=false,
            columns={{'device_id': 'VARCHAR', 'metric': 'VARCHAR', 'window_start': 'BIGINT', 'sum': 'DOUBLE'}})""")
        for job in JOBS:
            self.load_stored(f"stored_{job}", folder / f"postgres-{job}-final.csv")
        if not self.has_topic():
            return
        body = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        db.execute(f"""CREATE TABLE messages AS SELECT "partition", "offset", generation, unnest("row") FROM read_json(
            '{folder}/kafka-rows.jsonl', format='newline_delimited',
            columns={{'partition': 'BIGINT', 'offset': 'BIGINT', 'generation': 'BIGINT',
                      'row': 'STRUCT(job VARCHAR, {body})'}})""")
        self.counts["rows"] = db.execute("SELECT count(*) FROM messages").fetchone()[0]

    def has_topic(self):
        """Whether rows went to a topic too."""
        return (self.folder / "kafka-rows.jsonl").exists()

    def load_stored(self, table, path):
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
        self.db.execute(f"CREATE OR REPLACE TABLE {table} AS FROM read_csv('{path}', header=true, columns={{{columns}}})")

    def expect(self, job, minutes):
        """The table of a job's windows as they must be.

        Stragglers are added to rows of which the values are known, not the readings: when the first and the last one
        were is not known, nor are quantiles of more than two. An hour and a day take in memory what comes until their
        last minute is beyond the horizon.
        """
        hops = minutes if job == "five_minutes" else 1
        length = MINUTE_MS if hops > 1 else minutes * MINUTE_MS
        last_minute = f"ts // {MINUTE_MS}" if hops > 1 else f"(ts // {length} + 1) * {minutes} - 1"
        straggler = f"({last_minute} + {REACH_MINUTES}) * {MINUTE_MS} <= watermark - {HORIZON_MS}"
        quantiles = ", ".join(
            f"if(stragglers > 0 AND known > 2, NULL, sorted[greatest(1, ceil({rank} * count)::BIGINT)]) AS {name}"
            for name, rank in QUANTILES.items())
        ordered = "value ORDER BY ts, log_order) FILTER (value IS NOT NULL"
        self.db.execute(f"""CREATE TABLE expected_{job} AS
            WITH placed AS (
                SELECT device_id, metric, (ts // {length} - hop) * {length} AS window_start, ts, log_order, value,
                    {straggler} AS is_straggler
                FROM readings, range({hops}) AS hops(hop)
            ), grouped AS (
                SELECT {KEY}, count(value) AS count, coalesce(sum(value), 0) AS sum, min(value) AS min, max(value) AS max,
                    coalesce(first({ordered} AND NOT is_straggler), first({ordered})) AS first,
                    coalesce(last({ordered} AND NOT is_straggler), last({ordered})) AS last,
                    count(*) FILTER (is_straggler) AS stragglers,
                    count(value) FILTER (NOT is_straggler) AS known,
                    avg(value) AS mean, stddev_samp(value) AS stddev, sum(abs(value)) AS weight,
                    list(value ORDER BY value) FILTER (value IS NOT NULL) AS sorted,
                    count(*) - count(value) AS invalid_count
                FROM placed GROUP BY ALL
            ) SELECT *, {quantiles} FROM grouped""")
        self.counts["windows"] += self.db.execute(f"SELECT count(*) FROM expected_{job}").fetchone()[0]

    def compare(self, job):
        """A job's stored windows against those expected."""
        same = "s.device_id = e.device_id AND s.metric = e.metric AND s.window_start = e.window_start"
        key = "e.device_id, e.metric, e.window_start"
        self.none_of(f"{job}: windows are not stored", f"SELECT {key} FROM expected_{job} e ANTI JOIN stored_{job} s ON {same}")
        self.none_of(f"{job}: windows are invented",
                     f"SELECT s.device_id, s.metric, s.window_start FROM stored_{job} s ANTI JOIN expected_{job} e ON {same}")
        joined = f"FROM expected_{job} e JOIN stored_{job} s ON {same} WHERE"
        for name in ("count", "invalid_count", "min", "max", "first", "last"):
            self.none_of(f"{job}: {name} is wrong",
                         f"SELECT {key}, e.{name}, s.{name} {joined} e.{name} IS DISTINCT FROM s.{name}")
        self.none_of(f"{job}: sum is wrong",
                     f"SELECT {key}, e.sum, s.sum {joined} abs(e.sum - s.sum) > 1e-9 * coalesce(e.weight, 0)")
        self.none_of(f"{job}: mean is wrong",
                     f"SELECT {key}, e.mean, s.mean {joined} (e.mean IS NULL) != (s.mean IS NULL) "
                     f"OR abs(e.mean - s.mean) > 1e-9 * e.weight")
        self.none_of(f"{job}: stddev is wrong",
                     f"SELECT {key}, e.stddev, s.stddev {joined} e.count > 1 AND "
                     f"(s.stddev IS NULL OR abs(e.stddev - s.stddev) > 1e-6 * (e.stddev + 1e-6 * abs(e.mean) + 1e-12))")
        for name in QUANTILES:
            self.none_of(f"{job}: {name} is wrong",
                         f"SELECT {key}, e.{name}, s.{name} {joined} (e.{name} IS NULL) != (s.{name} IS NULL) "
                         f"OR abs(e.{name} - s.{name}) > if(e.count <= {EXACT_READINGS}, 0, abs(e.{name}) * {QUANTILE_ERROR})")
        self.none_of(f"{job}: a row with stragglers is not corrected",
                     f"SELECT {key}, s.status {joined} e.stragglers > 0 AND s.status != 'corrected'")
        if job == "minute":
            # A minute's readings are added in the log's order: equal to the last bit.
            self.none_of("minute: sum is not the log's", f"""SELECT e.device_id, e.metric, e.window_start, e.sum, s.sum
                FROM sums e JOIN stored_minute s ON {same} WHERE e.sum != s.sum""")

    def compare_sinks(self, job):
        """The topic against the tables, and the topic with itself."""
        rows = f"(FROM messages WHERE job = '{job}')"
        self.none_of(f"{job}: sinks differ", f"""
            WITH last AS (SELECT {", ".join(COLUMNS)} FROM {rows}
                          QUALIFY row_number() OVER (PARTITION BY {KEY} ORDER BY "offset" DESC) = 1)
            (SELECT * FROM last EXCEPT SELECT * FROM stored_{job})
            UNION ALL (SELECT * FROM stored_{job} EXCEPT SELECT * FROM last)""")
        self.none_of(f"{job}: a revision has two contents", f"""
            SELECT {KEY}, revision FROM (SELECT DISTINCT {", ".join(COLUMNS)} FROM {rows})
            GROUP BY {KEY}, revision HAVING count(*) > 1""")
        self.none_of(f"{job}: a window is final twice", f"""
            SELECT {KEY}, list(DISTINCT revision) FROM {rows} WHERE status = 'final'
            GROUP BY {KEY} HAVING count(DISTINCT revision) > 1""")
        self.none_of(f"{job}: a revision falls within a run", f"""
            SELECT {KEY}, generation FROM (
                SELECT {KEY}, generation, revision,
                    lag(revision) OVER (PARTITION BY {KEY}, generation ORDER BY "offset") AS before FROM {rows})
            WHERE revision < before""")
        self.none_of(f"{job}: the topic keeps an older revision", f"""
            SELECT {KEY}, max(revision), arg_max(revision, "offset") FROM {rows} GROUP BY {KEY}
            HAVING max(revision) > arg_max(revision, "offset")""")

    def compare_stages(self, job):
        """What the database held at each stop against what it held at the next."""
        stages = sorted(self.folder.glob(f"postgres-{job}-[0-9]*.csv"))
        content = ", ".join(f"b.{name}" for name in VALUES)
        same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in VALUES + ["status"])
        for earlier, later in zip(stages, stages[1:] + [self.folder / f"postgres-{job}-final.csv"]):
            self.load_stored("before", earlier)
            self.load_stored("after", later)
            self.none_of(f"{job}: rows of {earlier.stem} are gone",
                         f"SELECT {KEY} FROM before ANTI JOIN after USING ({KEY})")
            self.none_of(f"{job}: rows of {earlier.stem} have become older or others", f"""
                SELECT {content}, b.revision, a.revision FROM before b JOIN after a USING ({KEY})
                WHERE a.revision < b.revision OR (a.revision = b.revision AND NOT ({same}))""")

    def compare_letters(self):
        found = {}
        with open(self.folder / "letters.tsv") as file:
            for line in file:
                partition, offset, reason = line.rstrip("\n").split("\t")
                found[int(partition), int(offset)] = reason
        for name, one, other in [("lost", self.letters, found), ("invented", found, self.letters)]:
            only = [(place, reason) for place, reason in one.items() if other.get(place) != reason]
            if only:
                self.wrong(f"dead letters are {name}: {len(only)}, such as {only[:3]}")
        return len(found)

    def conserve(self, letters):
        """Every record of the topic is in a window, known as repeated, a dead letter, or had nothing to add."""
        stored = self.db.execute(
            "SELECT coalesce(sum(count + invalid_count), 0) FROM stored_minute WHERE metric = 'temperature'").fetchone()[0]
        counts = self.counts
        total = stored + counts["duplicates"] + letters + counts["heartbeats"]
        if total != counts["records"]:
            self.wrong(f"{counts['records']} records, but {stored} in windows + {counts['duplicates']} repeated "
                       f"+ {letters} dead letters + {counts['heartbeats']} without metrics = {total}")

    def write_records(self):
        """Every record of the ledger as the archive must have it."""
        with (open(self.folder / "ledger.tsv") as ledger, open(self.folder / "records.tsv", "w") as records,
              open(self.folder / "values.tsv", "w") as values):
            for line in ledger:
                partition, offset, log, device, ts, metrics, headers = line.rstrip("\n").split("\t")
                records.write(f"{partition}\t{offset}\t{log}\t{device}\t{ts}\t{headers}\n")
                for metric in filter(None, metrics.split(";")):
                    name, value = metric.split("=")
                    values.write(f"{partition}\t{offset}\t{name}\t{value}\n")

    def compare_archive(self):
        """Every record of the topic is in the archive once, as it was."""
        self.write_records()
        archive = Archive(self.db, self.folder / "archive-copy")
        archive.check()
        self.problems.extend(archive.problems)
        if not archive.files:
            return self.wrong("archive: there is nothing in it")
        position = "'partition': 'BIGINT', 'offset': 'BIGINT'"
        self.db.execute(f"""CREATE TABLE records AS FROM read_csv('{self.folder}/records.tsv', delim='\t', header=false,
            columns={{{position}, 'log': 'BIGINT', 'device': 'VARCHAR', 'ts': 'BIGINT', 'headers': 'VARCHAR'}},
            nullstr='NULL')""")
        self.db.execute(f"""CREATE TABLE record_values AS FROM read_csv('{self.folder}/values.tsv', delim='\t', header=false,
            columns={{{position}, 'name': 'VARCHAR', 'value': 'DOUBLE'}})""")
        found = """SELECT "partition", "offset", epoch_ms(log_time), coalesce(device_id, ''), coalesce(epoch_ms(ts), 0),
                coalesce(array_to_string([header.key || '=' || coalesce(lower(hex(header.value)), 'null')
                                          FOR header IN headers], ';'), '')
            FROM archived"""
        wanted = """SELECT "partition", "offset", log, coalesce(device, ''), ts, coalesce(headers, '') FROM records"""
        self.none_of("archive: records are missing or others", f"({wanted}) EXCEPT ALL ({found})")
        self.none_of("archive: records are invented", f"({found}) EXCEPT ALL ({wanted})")
        found = """SELECT "partition", "offset", unnest(map_keys(metrics)), unnest(map_values(metrics)) FROM archived"""
        self.none_of("archive: readings are missing or others", f"(FROM record_values) EXCEPT ALL ({found})")
        self.none_of("archive: readings are invented", f"({found}) EXCEPT ALL (FROM record_values)")
        self.none_of("archive: what is no telemetry has no bytes",
                     'SELECT "partition", "offset" FROM archived WHERE device_id IS NULL AND payload IS NULL')

    def compare_anomalies(self):
        """What rules have found against what they must have found."""
        closed = {partition: (clock - LATENESS_MS) // MINUTE_MS - 1 for partition, clock in self.clocks.items()}
        with open(self.folder / "rules.toml", "rb") as file:
            rules = tomllib.load(file)
        wanted = anomalies.expected(self.minutes, rules, lambda device: closed[self.homes[device]])
        self.counts["anomalies"] = len(wanted)
        self.problems.extend(anomalies.problems(wanted, anomalies.stored(self.folder / "anomalies.csv")))

    def hash(self):
        """Of all stored rows, without what depends on when they were published."""
        digest = hashlib.sha256()
        for job in JOBS:
            rows = self.db.execute(f"SELECT {', '.join(VALUES)} FROM stored_{job} ORDER BY {KEY}")
            while chunk := rows.fetchmany(10_000):
                digest.update(repr(chunk).encode())
        return digest.hexdigest()[:16]

    def judge(self):
        self.read_ledger()
        self.load()
        for job, minutes in JOBS.items():
            self.expect(job, minutes)
            self.compare(job)
            if self.has_topic():
                self.compare_sinks(job)
            self.compare_stages(job)
        self.conserve(self.compare_letters())
        self.compare_archive()
        self.compare_anomalies()
        return {"problems": self.problems, "hash": self.hash(), **self.counts}


if __name__ == "__main__":
    print(json.dumps(Oracle(pathlib.Path(sys.argv[1])).judge()))
