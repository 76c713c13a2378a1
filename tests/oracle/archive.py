"""Reads an archive as others do: manifests as JSON, objects with DuckDB and with pyarrow.

With a folder as its argument it says what is in the archive there.
"""

import json
import pathlib
import sys

import duckdb
import pyarrow.parquet

# What is there: of each partition the last record that is whole and those behind it, what they add without what they remove.
OBJECTS = """
    WITH records AS (
        SELECT log, "partition", number, whole, "add", remove
        FROM read_json('{folder}/manifest/*/*/*.json', columns={{
            'log': 'VARCHAR', 'partition': 'INTEGER', 'number': 'BIGINT', 'whole': 'BOOLEAN', 'remove': 'VARCHAR[]',
            'add': 'STRUCT("object" VARCHAR, "first" BIGINT, "last" BIGINT, records BIGINT, readings BIGINT, bytes BIGINT)[]'}})
    ), valid AS (
        FROM records
        QUALIFY number >= coalesce(max(number) FILTER (whole) OVER (PARTITION BY log, "partition"), 0)
    ), added AS (SELECT log, "partition", unnest("add", recursive := true) FROM valid)
    SELECT DISTINCT * FROM added WHERE "object" NOT IN (SELECT unnest(remove) FROM valid)
"""


class Archive:
    """An archive in a folder, as tables `objects` and `archived` of a database."""

    def __init__(self, db, folder):
        self.db = db
        self.problems = []
        db.execute(f"CREATE TABLE objects AS {OBJECTS.format(folder=folder)}")
        self.files = [f"{folder}/{name}" for name, in db.execute('SELECT "object" FROM objects ORDER BY 1').fetchall()]
        if self.files:
            db.execute("CREATE VIEW archived AS FROM read_parquet($files, hive_partitioning=true)".replace(
                "$files", json.dumps(self.files).replace('"', "'")))

    def none_of(self, what, query):
        """A query that must find nothing."""
        found = self.db.execute(query).fetchall()
        if found:
            self.problems.append(f"archive: {what}: {len(found)}, such as {found[:3]}")

    def check(self):
        """What has to be so in every archive."""
        if not self.files:
            return
        self.none_of("positions are there twice", """
            SELECT "partition", "offset" FROM archived GROUP BY ALL HAVING count(*) > 1""")
        self.none_of("objects overlap, or leave something out", """
            SELECT * FROM (SELECT *, lag("last") OVER (PARTITION BY log, "partition" ORDER BY "first") AS before FROM objects)
            WHERE "first" != before + 1""")
        self.none_of("an object doesn't hold what its manifest says", """
            WITH held AS (
                SELECT parse_filename(filename) AS name, count(*) AS records, min("offset") AS least, max("offset") AS most,
                    sum(coalesce(len(map_keys(metrics)), 0)) AS readings
                FROM read_parquet($files, filename=true) GROUP BY 1)
            SELECT name FROM objects JOIN held ON parse_filename("object") = name
            WHERE objects.records != held.records OR objects.readings != held.readings OR least < "first" OR most > "last"
            """.replace("$files", json.dumps(self.files).replace('"', "'")))
        self.none_of("rows are not by device and time", """
            SELECT filename, file_row_number FROM (
                SELECT filename, file_row_number, device_id, ts,
                    lag(device_id) OVER w AS device_before, lag(ts) OVER w AS before
                FROM read_parquet($files, filename=true, file_row_number=true)
                WINDOW w AS (PARTITION BY filename ORDER BY file_row_number))
            WHERE device_id < device_before OR (device_id = device_before AND ts < before)
            """.replace("$files", json.dumps(self.files).replace('"', "'")))
        # Another reader, of another make.
        rows = sum(pyarrow.parquet.ParquetFile(file).read().num_rows for file in self.files)
        if rows != (counted := self.records()):
            self.problems.append(f"archive: pyarrow reads {rows} rows, DuckDB {counted}")

    def records(self):
        """How many records there are."""
        return self.db.execute("SELECT count(*) FROM archived").fetchone()[0] if self.files else 0


def main(folder):
    archive = Archive(duckdb.connect(), folder)
    archive.check()
    print(json.dumps({"problems": archive.problems, "records": archive.records(), "objects": len(archive.files)}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
