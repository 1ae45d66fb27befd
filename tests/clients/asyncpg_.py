"""asyncpg: prepared statements, binary values, cursors, COPY, pool reset, notices."""
import asyncio
import datetime
import decimal

import asyncpg


async def main():
    connection = await asyncpg.connect()
    row = await connection.fetchrow("SELECT * FROM orders WHERE order_id = $1", 5)
    assert row["price"] == decimal.Decimal("7.50") and row["tags"] == ["a", "b"], row
    assert row["ordered_at"] == datetime.datetime(2024, 1, 1, 5, tzinfo=datetime.timezone.utc), row
    rows = await connection.fetch("SELECT order_id FROM orders WHERE channel = $1 ORDER BY order_id LIMIT $2", "web", 3)
    assert [r[0] for r in rows] == [2, 4, 6], rows
    rows = await connection.fetch("SELECT order_id FROM orders WHERE order_id = ANY($1::bigint[]) ORDER BY 1", [1, 2])
    assert [r[0] for r in rows] == [1, 2], rows
    async with connection.transaction():
        total = 0
        async for record in connection.cursor("SELECT qty FROM orders", prefetch=100):
            total += record["qty"]
        assert total == await connection.fetchval("SELECT sum(qty) FROM orders")
    await connection.execute("CREATE TABLE taken_asyncpg (a int, b text, c timestamptz)")
    now = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
    await connection.copy_records_to_table("taken_asyncpg", records=[(n, None if n % 2 else "x", now) for n in range(1000)])
    assert await connection.fetchrow("SELECT count(*), count(b), min(c) FROM taken_asyncpg") == (1000, 500, now)
    await connection.executemany("INSERT INTO taken_asyncpg VALUES ($1, $2, $3)", [(1, "y", now), (2, "z", now)])
    await connection.execute("DROP TABLE taken_asyncpg")
    notices = []
    connection.add_log_listener(lambda _, message: notices.append(message.message))
    await connection.execute("DROP TABLE IF EXISTS nowhere")
    await asyncio.sleep(0)
    assert notices == ["table nowhere does not exist, skipping"], notices
    try:
        await asyncio.wait_for(connection.execute("SELECT pg_sleep(30)"), 0.3)
        raise AssertionError("not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
        counts = await asyncio.gather(*(pool.fetchval("SELECT count(*) FROM orders") for _ in range(20)))
        assert counts == [500] * 20, counts


asyncio.run(main())
