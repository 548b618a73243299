// node-postgres: parameters, prepared statements, errors with their codes, transactions, notices.
const { Client } = require("pg");
const assert = require("assert");

(async () => {
  const client = new Client({ host: process.argv[2], port: +process.argv[3], user: "ada", database: "millstream" });
  await client.connect();
  await client.query("CREATE TABLE n (id INT PRIMARY KEY, v VARCHAR, at TIMESTAMPTZ)");
  const at = new Date(Date.UTC(2024, 0, 2, 3, 4, 5));
  const inserted = await client.query("INSERT INTO n VALUES ($1, $2, $3) RETURNING id", [1, "a", at]);
  assert.deepStrictEqual(inserted.rows, [{ id: 1 }]);
  const { rows } = await client.query({ name: "by-id", text: "SELECT * FROM n WHERE id = $1", values: [1] });
  assert.deepStrictEqual(rows, [{ id: 1, v: "a", at }]);
  await client.query({ name: "by-id", text: "SELECT * FROM n WHERE id = $1", values: [2] });
  await assert.rejects(client.query("INSERT INTO n (id) VALUES (1)"), { code: "23505" });
  await assert.rejects(client.query("SELECT nothing"), { code: "42703", position: "8" });
  await client.query("BEGIN");
  await client.query("INSERT INTO n (id) VALUES (2)");
  await client.query("ROLLBACK");
  assert.strictEqual((await client.query("SELECT count(*)::int AS n FROM n")).rows[0].n, 1);
  assert.deepStrictEqual((await client.query("SELECT $1::int[] AS a", [[1, 2]])).rows, [{ a: [1, 2] }]);
  await client.end();
  console.log("ok");
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
