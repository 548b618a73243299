"""Writes what a PostgreSQL answers into golden files: record_golden.py HOST:PORT FILE...

A line is an expression, its type and its value (or `! SQLSTATE`), with tabs between; lines that are empty or begin with #
stay as they are. psql does the asking, one statement a line, so that an error stops nothing.
"""
import subprocess
import sys

ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escaped(text):
    return "".join(ESCAPES.get(c, c) for c in text)


def ask(address, expressions):
    host, port = address.split(":")
    mark = "\x01"
    script = ["\\set VERBOSITY sqlstate", "\\pset format unaligned", "\\pset tuples_only on", "\\pset fieldsep '\\t'"]
    script.append("\\pset null '\x02'")
    for expression in expressions:
        script.append(f"SELECT '{mark}' || pg_typeof(x)::text || '{mark}', x FROM (SELECT {expression} AS x) AS y;")
        script.append(f"\\echo '{mark}{mark}' :SQLSTATE")
    command = ["psql", "-X", "-q", "-h", host, "-p", port, "-U", "postgres", "-d", "postgres"]
    found = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, check=True).stdout
    answers = []
    for part in found.split(f"{mark}{mark} ")[:-1]:
        answers.append(part)
    states = [part.split("\n", 1)[0] for part in found.split(f"{mark}{mark} ")[1:]]
    answers = [part if i == 0 else part.split("\n", 1)[1] for i, part in enumerate(answers)]
    assert len(answers) == len(expressions), (len(answers), len(expressions))
    for answer, state in zip(answers, states):
        if state != "00000":
            yield "!", state
            continue
        _, ty, value = answer.split(mark, 2)
        value = value[1:].rstrip("\n") if value.endswith("\n") else value[1:]
        yield ty, "NULL" if value == "\x02" else escaped(value) if value else "''"


def main():
    address, files = sys.argv[1], sys.argv[2:]
    for path in files:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        wanted = [line.split("\t")[0] for line in lines if line and not line.startswith("#")]
        answers = iter(ask(address, wanted))
        with open(path, "w", encoding="utf-8") as file:
            for line in lines:
                if line and not line.startswith("#"):
                    ty, value = next(answers)
                    line = "\t".join([line.split("\t")[0], ty, value])
                file.write(line + "\n")
        print(f"{path}: {len(wanted)} expressions")


main()
