// SPDX-License-Identifier: Apache-2.0

// River (riverqueue.com) on the work of `make bench`: river URL JOBS noop|row. Fills its table with jobs of 200 bytes, drains
// them, and prints one JSON line. row: one row of the user's in the transaction that completes the job. Tuned for throughput:
// many workers, a short fetch cooldown.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const tables = `DROP TABLE IF EXISTS river_rows; CREATE TABLE river_rows(job_id bigint PRIMARY KEY, payload text)`

// From the store, as for everybody else: the first hand-out to the last completion.
const measure = `SELECT count(*), coalesce(extract(epoch FROM max(finalized_at) - min(attempted_at)), 0)::float8
	FROM river_job WHERE state = 'completed'`

type benchArgs struct {
	Pad string `json:"pad"`
}

func (benchArgs) Kind() string { return "bench" }

type worker struct {
	river.WorkerDefaults[benchArgs]
	pool *pgxpool.Pool
	row  bool
}

func (w *worker) Work(ctx context.Context, job *river.Job[benchArgs]) error {
	if !w.row {
		return nil
	}
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err = tx.Exec(ctx, "INSERT INTO river_rows VALUES ($1, 'row')", job.ID); err != nil {
		return err
	}
	if _, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

func connect(url string, connections int32) *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(url)
	must(err)
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	must(err)
	return pool
}

func client(pool *pgxpool.Pool, config *river.Config) *river.Client[pgx.Tx] {
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	made, err := river.NewClient(riverpgxv5.New(pool), config)
	must(err)
	return made
}

func fill(ctx context.Context, pool *pgxpool.Pool, jobs int) {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	must(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	must(err)
	_, err = pool.Exec(ctx, tables)
	must(err)
	producer := client(pool, &river.Config{})
	args := benchArgs{strings.Repeat("x", 190)}
	for done := 0; done < jobs; done += 2000 {
		batch := make([]river.InsertManyParams, min(2000, jobs-done))
		for i := range batch {
			batch[i].Args = args
		}
		_, err := producer.InsertManyFast(ctx, batch)
		must(err)
	}
	_, err = pool.Exec(ctx, "VACUUM ANALYZE river_job")
	must(err)
}

func drain(ctx context.Context, pool *pgxpool.Pool, jobs int, row bool) float64 {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{pool: pool, row: row})
	slots := 1000
	if row {
		slots = 200
	}
	consumer := client(pool, &river.Config{
		Workers:           workers,
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}},
	})
	must(consumer.Start(ctx))
	var count int
	var seconds float64
	for count < jobs {
		time.Sleep(200 * time.Millisecond)
		must(pool.QueryRow(ctx, measure).Scan(&count, &seconds))
	}
	stop, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = consumer.Stop(stop)
	return seconds
}

func main() {
	ctx := context.Background()
	jobs, err := strconv.Atoi(os.Args[2])
	must(err)
	row := os.Args[3] == "row"
	pool := connect(os.Args[1], 24)
	fill(ctx, pool, jobs)
	seconds := drain(ctx, pool, jobs, row)
	rows := 0
	must(pool.QueryRow(ctx, "SELECT count(*) FROM river_rows").Scan(&rows))
	if row && rows != jobs {
		must(fmt.Errorf("%d rows of %d jobs", rows, jobs))
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{"rate": float64(jobs) / seconds, "seconds": seconds}))
}
