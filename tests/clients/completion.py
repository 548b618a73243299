"""psql's tab completion, typed into a pseudo-terminal: its queries are the hardest that psql sends."""
import os
import pty
import re
import select
import subprocess
import sys
import time

host, port = sys.argv[1:3]
subprocess.run(
    ["psql", "-X", "-q", "-h", host, "-p", port, "-U", "ada", "-d", "millstream"], check=True, text=True,
    input="CREATE TABLE orders (customer VARCHAR, price INT); CREATE VIEW orders_cheap AS SELECT price FROM orders;"
    "CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) FROM orders GROUP BY 1; CREATE SCHEMA warehouse;"
    "CREATE INDEX by_customer ON orders (customer);",
)
child, terminal = pty.fork()
if child == 0:
    os.environ.update(TERM="dumb", PAGER="", PSQL_PAGER="", INPUTRC="/dev/null")
    os.execvp("psql", ["psql", "-X", "-h", host, "-p", port, "-U", "ada", "-d", "millstream"])


def read(until, patience=20.0):
    """What the terminal shows, up to `until`."""
    text, deadline = "", time.monotonic() + patience
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
        if re.search(until, re.sub(r"\x07|\x1b\[[0-9;?]*[a-zA-Z]", "", text)):
            return text
    raise AssertionError(f"no {until!r} in {text!r}")


def completes(typed, expected):
    """Types `typed` and tabs, and sees `expected`; then forgets the line."""
    os.write(terminal, typed.encode() + b"\t\t\t")
    read(expected)
    os.write(terminal, b"\x03")
    read(r"=> ?$|=# ?$")


read(r"=> ?$|=# ?$")
completes("SELECT * FROM per_c", r"per_customer")
completes("SELECT * FROM ord", r"orders(?s:.*)orders_cheap")
completes("INSERT INTO ord", r"orders ?")
completes("UPDATE orders SET cus", r"customer")
completes("DROP VIEW ord", r"orders_cheap")
completes("DROP MATERIALIZED VIEW per", r"per_customer")
completes("DROP INDEX by", r"by_customer")
completes("SET search_path TO ware", r"warehouse")
completes("\\d ord", r"orders(?s:.*)orders_cheap")
completes("\\dm per", r"per_customer")
completes("SELECT * FROM pg_cat", r"pg_catalog")
completes("\\df pg_catalog.pg_get_v", r"pg_get_viewdef")
completes("SHOW server_v", r"server_version")
completes("CREATE MATERIALIZED VIEW x AS SELECT * FROM warehouse", r"warehouse")
os.write(terminal, b"SELECT 40 + 2;\r")
read(r"42")
os.write(terminal, b"\\q\r")
os.waitpid(child, 0)
print("ok")
