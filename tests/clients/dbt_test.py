"""dbt: seeds, tables, views, a materialized view that is kept, tests, docs; everything twice, as a schedule would."""
import os
import pathlib
import subprocess
import sys
import tempfile
from decimal import Decimal
import psycopg

host, port = sys.argv[1:3]
folder = pathlib.Path(tempfile.mkdtemp(prefix="dbt-"))
files = {
    "dbt_project.yml": """
name: shop
version: '1.0'
profile: shop
models: {shop: {+materialized: view}}
flags: {send_anonymous_usage_stats: false}
""",
    "profiles.yml": f"""
shop:
  target: dev
  outputs:
    dev: {{type: postgres, host: {host}, port: {port}, user: ada, password: '', dbname: millstream, schema: shop, threads: 2}}
""",
    "seeds/orders.csv": "id,customer,price\n1,ada,9.50\n2,bob,20.00\n3,ada,1.25\n",
    "models/cheap.sql": "select id, customer, price from {{ ref('orders') }} where price < 10",
    "models/customers.sql": "{{ config(materialized='materialized_view') }} select distinct customer from {{ ref('orders') }}",
    "models/totals.sql": "{{ config(materialized='materialized_view') }}\n"
    "select customer, count(*) as orders, sum(price) as total from {{ ref('orders') }} group by customer",
    "models/schema.yml": """
version: 2
models:
  - name: totals
    description: what each customer ordered
    columns:
      - name: customer
        tests: [unique, not_null]
  - name: cheap
    columns:
      - name: customer
        tests:
          - relationships: {to: ref('customers'), field: customer}
""",
}
for name, text in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def dbt(*words):
    command = [os.path.join(os.path.dirname(sys.executable), "dbt"), "--no-use-colors", *words, "--project-dir", str(folder)]
    done = subprocess.run([*command, "--profiles-dir", str(folder)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, f"dbt {' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


dbt("debug")
with psycopg.connect(f"host={host} port={port} dbname=millstream user=ada", autocommit=True) as connection:
    for round in range(2):
        dbt("seed")
        dbt("run")
        dbt("test")
        assert connection.execute("SELECT customer, orders, total FROM shop.totals ORDER BY 1").fetchall() == [
            ("ada", 2, round + Decimal("10.75")),
            ("bob", 1, 20),
        ]
        assert connection.execute("SELECT count(*) FROM shop.customers").fetchone() == (2,)
        kinds = dict(connection.execute("SELECT relname, relkind FROM pg_class WHERE relnamespace = 'shop'::regnamespace").fetchall())
        assert (kinds["cheap"], kinds["customers"], kinds["totals"], kinds["orders"]) == ("v", "m", "m", "r"), kinds
        # A materialized view follows its table without a run.
        connection.execute("UPDATE shop.orders SET price = price + 1 WHERE id = 1")
        assert connection.execute("SELECT total FROM shop.totals WHERE customer = 'ada'").fetchone()[0] == round + Decimal("11.75")
        connection.execute("UPDATE shop.orders SET price = price - 1 WHERE id = 1")
        files_round = files["seeds/orders.csv"].replace("9.50", "10.50")
        (folder / "seeds/orders.csv").write_text(files_round)
print(dbt("docs", "generate").count("Catalog written") and "ok")
