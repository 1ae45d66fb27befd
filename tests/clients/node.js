// node-postgres (parameters, cursors, streams, COPY), postgres.js, knex, sequelize, typeorm and kysely.
const assert = require('node:assert');
const { env } = process;
const url = `postgresql://${env.PGUSER}:${env.PGPASSWORD}@${env.PGHOST}:${env.PGPORT}/${env.PGDATABASE}`;

async function pg() {
  const { Client } = require('pg');
  const Cursor = require('pg-cursor');
  const QueryStream = require('pg-query-stream');
  const { to, from } = require('pg-copy-streams');
  const client = new Client(url);
  const notices = [];
  client.on('notice', notice => notices.push(notice));
  await client.connect();
  const many = await client.query('SELECT * FROM orders WHERE order_id <= $1 AND channel = $2 AND tags = $3 ORDER BY order_id LIMIT $4', [20, 'store', ['a', 'b'], 3]);
  assert.deepStrictEqual(many.rows.map(row => row.order_id), ['1', '3', '5']);
  assert.deepStrictEqual(many.rows[0].tags, ['a', 'b']);
  assert.strictEqual(many.rows[0].ordered_at.toISOString(), '2024-01-01T01:00:00.000Z');
  const any = await client.query('SELECT count(*)::int AS n FROM orders WHERE order_id = ANY($1)', [[1, 2, 3]]);
  assert.strictEqual(any.rows[0].n, 3);
  for (let n = 0; n < 3; n++) {
    const named = await client.query({ name: 'by product', text: 'SELECT count(*) FROM orders WHERE product_id = $1', values: [n] });
    assert.strictEqual(named.rows.length, 1);
  }
  const cursor = client.query(new Cursor('SELECT * FROM orders'));
  let rows = 0;
  for (let some; (some = await cursor.read(70)).length > 0;) rows += some.length;
  await cursor.close();
  assert.strictEqual(rows, 500);
  rows = 0;
  for await (const _ of client.query(new QueryStream('SELECT * FROM orders'))) rows++;
  assert.strictEqual(rows, 500);
  let bytes = 0;
  for await (const chunk of client.query(to('COPY orders TO STDOUT'))) bytes += chunk.length;
  assert.ok(bytes > 10000);
  await client.query('CREATE TABLE copied (a INT, b TEXT)');
  const sink = client.query(from('COPY copied FROM STDIN'));
  await new Promise((resolve, reject) => {
    sink.on('finish', resolve).on('error', reject);
    sink.write('1\tx\n');
    sink.end('2\t\\N\n');
  });
  assert.deepStrictEqual((await client.query('SELECT * FROM copied ORDER BY a')).rows, [{ a: 1, b: 'x' }, { a: 2, b: null }]);
  assert.strictEqual((await client.query('SELECT 1; SELECT 2')).length, 2);
  await client.query('BEGIN');
  await client.query('SAVEPOINT s');
  await client.query('ROLLBACK TO SAVEPOINT s');
  await client.query('COMMIT');
  for (const queryMode of ['simple', 'extended']) {
    for (const epochs of [3, 400]) {
      notices.length = 0;
      const text = `TRAIN OR REPLACE FORECAST MODEL node ON sales TARGET units ORDER BY day HORIZON 7 USING tide WITH (epochs = ${epochs}, early_stop = 10000)`;
      const started = Date.now();
      let first = null;
      client.once('notice', () => { first = Date.now() - started; });
      const trained = await client.query({ text, queryMode });
      assert.strictEqual(trained.rows.length, 1);
      assert.ok(notices.length >= 1, `no notices of ${epochs} epochs, ${queryMode}`);
      // While it trains, not all at its end.
      assert.ok(epochs === 3 || first < (Date.now() - started) / 2, `the first notice after ${first} ms`);
      for (const notice of notices) {
        const detail = JSON.parse(notice.detail);
        assert.deepStrictEqual([notice.severity, notice.code], ['NOTICE', '00000']);
        assert.ok(notice.message.includes(`epoch ${detail.epoch} of ${detail.epochs}`) && detail.train_loss > 0, notice.message);
      }
    }
  }
  await client.query('TRAIN OR REPLACE FORECAST MODEL node ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive');
  assert.strictEqual((await client.query('SELECT * FROM forecast(node)')).rows.length, 7);
  const error = await client.query('SELECT * FROM ordres').catch(e => e);
  assert.strictEqual(error.code, '42P01');
  await client.end();
}

async function postgresJs() {
  const sql = require('postgres')(url, { max: 2, onnotice: () => {} });
  assert.strictEqual((await sql`SELECT * FROM orders WHERE order_id = ${5} AND ordered_at >= ${new Date(0)}`).length, 1);
  assert.strictEqual((await sql`SELECT * FROM orders WHERE order_id = ANY(${[1, 2]})`).length, 2);
  let rows = 0;
  for await (const some of sql`SELECT * FROM orders`.cursor(90)) rows += some.length;
  assert.strictEqual(rows, 500);
  await sql.begin(async transaction => {
    await transaction`SELECT 1`;
    await transaction.savepoint(async inner => { await inner`SELECT 2`; });
  });
  assert.strictEqual((await sql`SELECT * FROM orders`.describe()).columns.length, 10);
  await sql.end();
}

async function knex() {
  const knex = require('knex')({ client: 'pg', connection: url });
  assert.ok(await knex.schema.hasTable('orders'));
  assert.strictEqual((await knex('orders').columnInfo()).price.type, 'numeric');
  assert.strictEqual((await knex('orders').where('qty', '>', 3).limit(2)).length, 2);
  await knex.transaction(async transaction => { await transaction('orders').count(); });
  await knex.schema.createTable('knexed', table => { table.increments('id'); table.string('name'); });
  assert.deepStrictEqual(await knex('knexed').insert([{ name: 'a' }, { name: 'b' }]).returning('id'), [{ id: 1 }, { id: 2 }]);
  assert.strictEqual(await knex('knexed').where('id', 1).update({ name: 'c' }), 1);
  await knex.schema.dropTable('knexed');
  await knex.destroy();
}

async function sequelize() {
  const { Sequelize, QueryTypes, DataTypes } = require('sequelize');
  const sequelize = new Sequelize(url, { logging: false });
  await sequelize.authenticate();
  const queries = sequelize.getQueryInterface();
  assert.ok((await queries.showAllTables()).some(table => (table.tableName ?? table) === 'orders'));
  assert.strictEqual((await queries.describeTable('orders')).price.type, 'NUMERIC');
  await queries.showIndex('orders');
  const found = await sequelize.query('SELECT * FROM orders WHERE qty > :q LIMIT 1', { replacements: { q: 2 }, type: QueryTypes.SELECT });
  assert.strictEqual(found.length, 1);
  const Note = sequelize.define('note', { text: DataTypes.STRING(20) }, { timestamps: false });
  await Note.sync();
  const note = await Note.create({ text: 'a' });
  assert.strictEqual(note.id, 1);
  await note.update({ text: 'b' });
  assert.strictEqual((await Note.findByPk(1)).text, 'b');
  await note.destroy();
  assert.strictEqual(await Note.count(), 0);
  await Note.drop();
  await sequelize.close();
}

async function typeorm() {
  const { DataSource } = require('typeorm');
  const source = new DataSource({ type: 'postgres', url });
  await source.initialize();
  const runner = source.createQueryRunner();
  assert.strictEqual((await runner.getTable('public.orders')).columns.length, 10);
  assert.ok((await runner.getTables()).length >= 3);
  assert.strictEqual((await source.query('SELECT * FROM orders WHERE order_id = $1', [4])).length, 1);
  await source.destroy();
}

async function kysely() {
  const { Kysely, PostgresDialect } = require('kysely');
  const { Pool } = require('pg');
  const db = new Kysely({ dialect: new PostgresDialect({ pool: new Pool({ connectionString: url }) }) });
  assert.ok((await db.introspection.getTables()).some(table => table.name === 'orders'));
  assert.strictEqual((await db.selectFrom('orders').selectAll().where('qty', '>', 3).limit(1).execute()).length, 1);
  await db.destroy();
}

(async () => {
  for (const part of [pg, postgresJs, knex, sequelize, typeorm, kysely]) {
    await part().catch(error => { throw new Error(part.name, { cause: error }); });
    console.log(part.name);
  }
})().catch(error => { console.error(error); process.exit(1); });
