"""asyncpg: binary everywhere, array parameters, cursors, binary COPY, and the pool's reset."""
import asyncio
import datetime
import io
import sys
import uuid
from decimal import Decimal
import asyncpg


async def main():
    where = dict(host=sys.argv[1], port=int(sys.argv[2]), user="ada", database="millstream")
    connection = await asyncpg.connect(**where)
    await connection.execute(
        "CREATE TABLE q (id BIGINT PRIMARY KEY, v VARCHAR, d DOUBLE PRECISION, b BOOLEAN, n NUMERIC(10,2),"
        " at TIMESTAMP, z TIMESTAMPTZ, day DATE, u UUID, j JSONB, raw BYTEA)"
    )
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, 6)
    row = (
        1, "a", 1.5, True, Decimal("2.50"), at, at.replace(tzinfo=datetime.timezone.utc), at.date(),
        uuid.UUID(int=7), '{"a": 1}', b"\x00\xff",
    )
    await connection.execute("INSERT INTO q VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", *row)
    assert tuple(await connection.fetchrow("SELECT * FROM q WHERE id = $1", 1)) == row

    copied = await connection.copy_records_to_table("q", records=[(i, f"v{i}") for i in range(2, 100)], columns=["id", "v"])
    assert copied == "COPY 98", copied
    async with connection.transaction():
        ids = [record["id"] async for record in connection.cursor("SELECT id FROM q ORDER BY id", prefetch=10)]
    assert ids == list(range(1, 100))
    rows = await connection.fetch("SELECT id FROM q WHERE id = ANY($1::bigint[]) AND v = ANY($2) ORDER BY id", [2, 3, 99, 500], ["v2", "v99"])
    assert [row["id"] for row in rows] == [2, 99]
    await connection.execute("CREATE TABLE arrays (id INT PRIMARY KEY, a BIGINT[], t VARCHAR[], n NUMERIC[], z TIMESTAMPTZ[])")
    arrays = (1, [1, None, 3], ["x", "", None], [Decimal("1.5")], [at.replace(tzinfo=datetime.timezone.utc)])
    await connection.execute("INSERT INTO arrays VALUES ($1, $2, $3, $4, $5)", *arrays)
    assert tuple(await connection.fetchrow("SELECT * FROM arrays")) == arrays
    assert await connection.copy_records_to_table("arrays", records=[(2, [7], ["y"], [], None)]) == "COPY 1"
    assert tuple(await connection.fetchrow("SELECT * FROM arrays WHERE id = 2")) == (2, [7], ["y"], [], None)
    kind, oid, name = await connection.fetchrow("SELECT relkind, oid, relname FROM pg_class WHERE relname = $1", "q")
    assert (kind, name) == (b"r", "q") and oid == await connection.fetchval("SELECT 'q'::regclass::oid")
    assert await connection.fetchval("SELECT conkey FROM pg_constraint WHERE conrelid = $1", oid) == [1]
    assert await connection.fetchval("SELECT array_agg(oid) FROM pg_class WHERE oid = ANY($1::oid[])", [oid]) == [oid]
    assert await connection.fetchval("SELECT indkey FROM pg_index WHERE indrelid = $1", oid) == [1]
    statement = await connection.prepare("SELECT id, v FROM q WHERE id > $1 ORDER BY id LIMIT 2")
    assert [attribute.name for attribute in statement.get_attributes()] == ["id", "v"]
    assert [tuple(r) for r in await statement.fetch(5)] == [(6, "v6"), (7, "v7")]
    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM q")
            await connection.execute("INSERT INTO q (id) VALUES (1), (1)")
    except asyncpg.UniqueViolationError:
        pass
    assert await connection.fetchval("SELECT count(*) FROM q") == 99
    out = io.BytesIO()
    assert await connection.copy_from_query("SELECT id, v FROM q WHERE id < 4", output=out, format="binary") == "COPY 3"
    assert out.getvalue().startswith(b"PGCOPY\n\xff\r\n\0")
    await connection.close()

    async with asyncpg.create_pool(min_size=1, max_size=2, **where) as pool:
        for _ in range(3):
            async with pool.acquire() as connection:
                await connection.execute("SET application_name = 'pooled'")
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT current_setting('application_name')") != "pooled"


asyncio.run(main())
print("ok")
