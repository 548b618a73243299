"""psycopg 3: DDL in its implicit block, parameters in text and binary, server-side cursors, COPY, pipelines, savepoints."""
import sys
from decimal import Decimal
import psycopg

address = f"host={sys.argv[1]} port={sys.argv[2]} dbname=millstream user=ada"
notices = []
with psycopg.connect(address) as connection:
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("CREATE TABLE p (id INT PRIMARY KEY, v VARCHAR, n NUMERIC(10,2), a BIGINT[])")
    assert any("takes effect at once" in notice for notice in notices), notices
    connection.execute("INSERT INTO p VALUES (%s, %s, %s, %s)", (1, "a", Decimal("1.50"), [1, 2]))
    connection.commit()
    for binary in (False, True):
        row = connection.execute("SELECT * FROM p WHERE id = %s", (1,), binary=binary).fetchone()
        assert row == (1, "a", Decimal("1.50"), [1, 2]), row
    assert connection.execute("SELECT id FROM p WHERE id = ANY(%s)", ([1, 2],)).fetchall() == [(1,)]

    with connection.cursor().copy("COPY p (id, v) FROM STDIN") as copy:
        for i in range(2, 2000):
            copy.write_row((i, f"row {i}"))
    connection.commit()
    with connection.cursor().copy("COPY p (id, v) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "varchar"])
        for i in range(2000, 2010):
            copy.write_row((i, None))
    connection.commit()
    with connection.cursor().copy("COPY (SELECT id FROM p WHERE id < 4 ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4"])
        assert list(copy.rows()) == [(1,), (2,), (3,)]

    with connection.cursor("named") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT id FROM p ORDER BY id")
        assert cursor.description[0].name == "id"
        assert [row[0] for row in cursor] == list(range(1, 2010))

    try:
        with connection.transaction():
            with connection.transaction():
                connection.execute("DELETE FROM p")
                connection.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero:
        pass
    assert connection.execute("SELECT count(*) FROM p").fetchone() == (2009,)
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("DELETE FROM p")
                connection.execute("SELECT nothing")
        except psycopg.errors.UndefinedColumn:
            pass
        connection.execute("DELETE FROM p WHERE id = 1")
    connection.commit()
    assert connection.execute("SELECT count(*) FROM p").fetchone() == (2008,)
    connection.commit()

    with connection.pipeline():
        answers = [connection.execute("SELECT %s::int", (i,)) for i in range(50)]
    assert [answer.fetchone()[0] for answer in answers] == list(range(50))

with psycopg.connect(address, autocommit=True) as connection:
    connection.execute("CREATE MATERIALIZED VIEW pm AS SELECT count(*) AS n FROM p")
    connection.execute("BEGIN")
    connection.execute("DECLARE c CURSOR FOR SUBSCRIBE TO pm")
    rows = connection.execute("FETCH 10 FROM c").fetchall()
    assert [row[1:] for row in rows] == [(1, 2008)], rows
    connection.execute("COMMIT")
    connection.execute("SET statement_timeout = '300ms'")
    try:
        with connection.cursor().copy("COPY (SUBSCRIBE TO pm) TO STDOUT") as copy:
            for row in copy.rows():
                pass
        raise AssertionError("statement_timeout did nothing")
    except psycopg.errors.QueryCanceled:
        pass
print("ok")
