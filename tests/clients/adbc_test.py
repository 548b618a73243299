"""ADBC's PostgreSQL driver: types read from the catalog, answers and parameters as Arrow over binary COPY, metadata, ingestion."""
import sys
import adbc_driver_postgresql.dbapi as adbc
import pyarrow

with adbc.connect(f"postgresql://ada@{sys.argv[1]}:{sys.argv[2]}/millstream") as connection:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE a (id BIGINT PRIMARY KEY, v VARCHAR, n NUMERIC(10,2), at TIMESTAMP, tags VARCHAR[], raw BYTEA)")
        connection.commit()
        cursor.execute("INSERT INTO a VALUES (1, 'x', 1.50, '2024-01-02 03:04:05', '{p,q}', '\\x00ff'), (2, NULL, NULL, NULL, NULL, NULL)")
        cursor.execute("SELECT * FROM a ORDER BY id")
        table = cursor.fetch_arrow_table()
        connection.commit()
        assert table.column("id").to_pylist() == [1, 2], table
        assert table.column("v").to_pylist() == ["x", None]
        assert table.column("n").to_pylist()[0] == "1.50", table.column("n")
        assert table.column("tags").to_pylist() == [["p", "q"], None]
        assert table.column("raw").to_pylist() == [b"\x00\xff", None]
        assert str(table.column("at").to_pylist()[0]) == "2024-01-02 03:04:05"

        cursor.execute("SELECT id FROM a WHERE id = $1 AND v = $2", (1, "x"))
        assert cursor.fetchall() == [(1,)]
        rows = pyarrow.table({"id": pyarrow.array(range(10, 1010), pyarrow.int64()), "v": [f"v{i}" for i in range(1000)]})
        assert cursor.adbc_ingest("a", rows, mode="append") == 1000
        connection.commit()
        cursor.execute("SELECT count(*), max(v) FROM a")
        assert cursor.fetchone() == (1002, "x")
        connection.commit()
    schema = connection.adbc_get_table_schema("a")
    names = ["id", "v", "n", "at", "tags", "raw"]
    assert schema.names == names, schema
    assert schema.field("id").type == pyarrow.int64() and schema.field("at").type == pyarrow.timestamp("us")
    objects = connection.adbc_get_objects(depth="columns", table_name_filter="a").read_all().to_pylist()
    schemas = {schema["db_schema_name"]: schema for catalog in objects for schema in catalog["catalog_db_schemas"] or []}
    tables = schemas["public"]["db_schema_tables"]
    assert [table["table_name"] for table in tables] == ["a"], tables
    columns = {column["ordinal_position"]: column["column_name"] for column in tables[0]["table_columns"]}
    assert [columns[place] for place in range(1, 7)] == names, columns
    assert any(constraint["constraint_type"] == "PRIMARY KEY" for constraint in tables[0]["table_constraints"]), tables
print("ok")
