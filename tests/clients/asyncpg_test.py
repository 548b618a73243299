"""asyncpg: binary everywhere, array parameters, cursors, binary COPY, and the pool's reset."""
import asyncio
import datetime
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
    await connection.close()

    async with asyncpg.create_pool(min_size=1, max_size=2, **where) as pool:
        for _ in range(3):
            async with pool.acquire() as connection:
                await connection.execute("SET application_name = 'pooled'")
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT current_setting('application_name')") != "pooled"


asyncio.run(main())
print("ok")
