"""Reads an archive in a bucket with DuckDB, and compares its minutes of a device with the windows that Tidewatch answered.

    read.py ENDPOINT BUCKET/PREFIX DEVICE METRIC WINDOWS.json

The key is in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Objects come through pyarrow, which brings its own client of S3.
"""

import json
import sys

import duckdb
import pyarrow.dataset
from pyarrow.fs import FileSelector, S3FileSystem

endpoint, place, device, metric, windows = sys.argv[1:]
store = S3FileSystem(endpoint_override=endpoint, region="us-east-1")

# What is in the archive is what its manifests say: what they add, without what they remove.
added, removed = {}, set()
for file in store.get_file_info(FileSelector(f"{place}/manifest", recursive=True)):
    if file.is_file:
        manifest = json.loads(store.open_input_file(file.path).read())
        added |= {entry["object"]: entry["records"] for entry in manifest["add"]}
        removed |= set(manifest["remove"])
objects = {name: records for name, records in added.items() if name not in removed}
telemetry = pyarrow.dataset.dataset([f"{place}/{name}" for name in objects], filesystem=store)

db = duckdb.connect()
db.sql("SET TimeZone = 'UTC'")
db.register("telemetry", telemetry)
print(db.sql("""
    SELECT device_id, count(*) AS messages, max(log_time) AS latest, round(avg(metrics['temperature']), 3) AS temperature
    FROM telemetry WHERE device_id BETWEEN 'dev-000042' AND 'dev-000044' GROUP BY ALL ORDER BY ALL"""))

problems = []
((twice, held),) = db.execute("""
    SELECT count(*) - count(DISTINCT ("partition", "offset")), count(*) FROM telemetry""").fetchall()
if twice or held != sum(objects.values()):
    problems.append(f"{held} records, {twice} of them twice, but the manifests name {sum(objects.values())}")

# The archive has what was sent, also twice; a window counts a message that is sent again once.
minutes = db.execute("""
    SELECT strftime(time_bucket(INTERVAL 1 MINUTE, ts), '%Y-%m-%dT%H:%M:%S.000Z'), count(*), min(value), max(value)
    FROM (SELECT DISTINCT ts, metrics[$metric] AS value, metrics FROM telemetry WHERE device_id = $device) GROUP BY 1""",
    {"device": device, "metric": metric}).fetchall()
minutes = {start: rest for start, *rest in minutes}
rows = [row for row in json.load(open(windows))["rows"] if row["status"] != "live"]
for row in rows:
    start, window = row["window_start"], [row["count"], row["min"], row["max"]]
    if minutes.get(start) != window:
        problems.append(f"{start}: the window has {window}, the archive {minutes.get(start)}")
if len(rows) < 20:
    problems.append(f"only {len(rows)} windows")
print(f"{held} records in {len(objects)} objects; {len(rows)} windows of {device} {metric} compared with them")
sys.exit("\n".join(problems) if problems else 0)
