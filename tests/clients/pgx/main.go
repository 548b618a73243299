// pgx v5: binary both ways, arrays, batches, COPY, cursors, cancel, notices, and its types read from the catalog.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("found %#v, expected %#v", found, expected))
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://ada@%s:%s/millstream?sslmode=disable", os.Args[1], os.Args[2]))
	must(err)
	var notices []string
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { notices = append(notices, notice.Message) }
	c, err := pgx.ConnectConfig(ctx, config)
	must(err)
	defer c.Close(ctx)
	must(c.Ping(ctx))
	types(ctx, c)
	batches(ctx, c)
	cursors(ctx, c)
	catalog(ctx, c)
	failures(ctx, c, config)
	tx, err := c.Begin(ctx)
	must(err)
	_, err = tx.Exec(ctx, "CREATE VIEW in_block AS SELECT id FROM g")
	must(err)
	must(tx.Rollback(ctx))
	check(len(notices), 1)
	fmt.Println("ok")
}

// Values go in and come out in binary, as Go's types.
func types(ctx context.Context, c *pgx.Conn) {
	_, err := c.Exec(ctx, `CREATE TABLE g (id BIGINT PRIMARY KEY, s SMALLINT, i INT, r REAL, d DOUBLE PRECISION, n NUMERIC(10,2),
		b BOOLEAN, v VARCHAR, raw BYTEA, day DATE, at TIMESTAMP, z TIMESTAMPTZ, u UUID, j JSONB, ints INT[], texts VARCHAR[])`)
	must(err)
	at := time.Date(2024, 2, 29, 12, 30, 0, 1000, time.UTC)
	uuid := [16]byte{1, 2, 3, 15: 9}
	_, err = c.Exec(ctx, `INSERT INTO g VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		int64(1), int16(2), int32(3), float32(1.5), 2.5, "12.34", true, "ünder", []byte{0, 255}, at.Truncate(24*time.Hour), at, at,
		uuid, map[string]any{"a": 1.0}, []int32{1, 2, 3}, []string{"x", "y z", ""})
	must(err)
	var s int16
	var i int32
	var r float32
	var d, n float64
	var b bool
	var v string
	var raw []byte
	var day, plain, zoned time.Time
	var u [16]byte
	var j map[string]any
	var ints []int32
	var texts []string
	row := c.QueryRow(ctx, "SELECT s, i, r, d, n, b, v, raw, day, at, z, u, j, ints, texts FROM g WHERE id = $1", 1)
	must(row.Scan(&s, &i, &r, &d, &n, &b, &v, &raw, &day, &plain, &zoned, &u, &j, &ints, &texts))
	check([]any{s, i, r, d, n, b, v, raw}, []any{int16(2), int32(3), float32(1.5), 2.5, 12.34, true, "ünder", []byte{0, 255}})
	check(day.Equal(at.Truncate(24*time.Hour)) && plain.Equal(at) && zoned.Equal(at), true)
	check([]any{u, j, ints, texts}, []any{uuid, map[string]any{"a": 1.0}, []int32{1, 2, 3}, []string{"x", "y z", ""}})
	var nothing *string
	must(c.QueryRow(ctx, "SELECT v FROM g WHERE id = ANY($1) AND v IS NULL UNION ALL SELECT NULL", []int64{1, 7}).Scan(&nothing))
	check(nothing, (*string)(nil))
}

// A pipeline of statements, and COPY in binary.
func batches(ctx context.Context, c *pgx.Conn) {
	batch := &pgx.Batch{}
	for id := 10; id < 20; id++ {
		batch.Queue("INSERT INTO g (id, v) VALUES ($1, $2)", id, fmt.Sprint("v", id))
	}
	batch.Queue("SELECT count(*) FROM g").QueryRow(func(row pgx.Row) error {
		var count int64
		err := row.Scan(&count)
		check(count, int64(11))
		return err
	})
	must(c.SendBatch(ctx, batch).Close())
	rows := make([][]any, 1000)
	for i := range rows {
		rows[i] = []any{int64(1000 + i), fmt.Sprint("c", i), []int32{int32(i)}}
	}
	copied, err := c.CopyFrom(ctx, pgx.Identifier{"g"}, []string{"id", "v", "ints"}, pgx.CopyFromRows(rows))
	must(err)
	check(copied, int64(1000))
	_, err = c.Exec(ctx, "CREATE MATERIALIZED VIEW gm AS SELECT v, count(*) AS n FROM g GROUP BY v")
	must(err)
	found, err := c.Query(ctx, "SELECT v, n FROM gm WHERE v LIKE 'c99%' ORDER BY v")
	must(err)
	type line struct {
		V string
		N int64
	}
	lines, err := pgx.CollectRows(found, pgx.RowToStructByName[line])
	must(err)
	check(len(lines), 11)
	check(lines[0], line{"c99", 1})
}

// A cursor that SQL declares, fetched in binary.
func cursors(ctx context.Context, c *pgx.Conn) {
	must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DECLARE g CURSOR FOR SELECT id FROM g ORDER BY id")
		must(err)
		for _, expected := range [][]int64{{1, 10, 11}, {12, 13, 14}} {
			rows, err := tx.Query(ctx, "FETCH 3 FROM g")
			must(err)
			ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			must(err)
			check(ids, expected)
		}
		nested, err := tx.Begin(ctx)
		must(err)
		_, err = nested.Exec(ctx, "INSERT INTO g (id) VALUES (1)")
		check(err != nil, true)
		return nested.Rollback(ctx)
	}))
}

// Numbers of objects are oids: pgx reads its own types from them.
func catalog(ctx context.Context, c *pgx.Conn) {
	rows, err := c.Query(ctx, "SELECT oid, relname, relkind, 'g'::regclass::oid FROM pg_class WHERE relname = 'g'")
	must(err)
	fields := rows.FieldDescriptions()
	check([]uint32{fields[0].DataTypeOID, fields[1].DataTypeOID, fields[2].DataTypeOID, fields[3].DataTypeOID}, []uint32{26, 19, 18, 26})
	rows.Next()
	var oid, again uint32
	var name string
	var kind rune
	must(rows.Scan(&oid, &name, &kind, &again))
	check([]any{name, kind, oid}, []any{"g", 'r', again})
	rows.Close()
	must(rows.Err())
	for _, name := range []string{"g", "_int4"} {
		_, err := c.LoadType(ctx, name)
		if name == "g" {
			check(err != nil, true)
			continue
		}
		must(err)
	}
	var names []string
	must(c.QueryRow(ctx, "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class WHERE oid = ANY($1)", []uint32{oid}).Scan(&names))
	check(names, []string{"g"})
}

// Errors with their codes, and a cancel that the server hears.
func failures(ctx context.Context, c *pgx.Conn, config *pgx.ConnConfig) {
	_, err := c.Exec(ctx, "INSERT INTO g (id) VALUES (1)")
	var failed *pgconn.PgError
	check(errors.As(err, &failed), true)
	check(failed.Code, "23505")
	_, err = c.Exec(ctx, "SELECT nothing FROM g")
	check(errors.As(err, &failed), true)
	check([]any{failed.Code, failed.Position}, []any{"42703", int32(8)})
	other, err := pgx.ConnectConfig(ctx, config)
	must(err)
	defer other.Close(ctx)
	since := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { must(other.PgConn().CancelRequest(ctx)) })
	_, err = other.Exec(ctx, "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
	check(errors.As(err, &failed), true)
	check(failed.Code, "57014")
	check(time.Since(since) < 5*time.Second, true)
	var one int
	must(other.QueryRow(ctx, "SELECT 1").Scan(&one))
}
