#!/usr/bin/env python3
"""Writes examples/data/flights.ndjson and airports.csv: the first 30,000 rows of the real flights of 2001 in the order
in which they arrived (date + delay minutes, ties by file row). US DOT, public domain.

    pip install pyarrow
    examples/make-sample.py flights-3m.parquet airports.csv [rows]
"""
import json, pathlib, shutil, sys
import pyarrow.parquet as pq

flights, airports = sys.argv[1], sys.argv[2]
rows = int(sys.argv[3]) if len(sys.argv) > 3 else 30_000
table = pq.read_table(flights)
date = table["date"].to_numpy().astype("int64")
arrival = date + table["delay"].to_numpy() * 60_000_000
first = arrival.argsort(kind="stable")[:rows]
out = pathlib.Path(__file__).parent / "data"
out.mkdir(exist_ok=True)
with open(out / "flights.ndjson", "w") as file:
    for row in table.take(first).to_pylist():
        row["date"] = row["date"].strftime("%Y-%m-%d %H:%M:%S")
        file.write(json.dumps(row, separators=(",", ":")) + "\n")
shutil.copyfile(airports, out / "airports.csv")
