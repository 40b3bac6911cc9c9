// SPDX-License-Identifier: Apache-2.0

// What a Go programmer writes by hand for exactly one row a message: go-kafka PGURL JOBS row kafka://HOST:PORT TOPIC. Each poll of up
// to 2000 records is one transaction of the rows and the offsets, then the group's offsets for the lag tools. Prints one JSON line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	pollMax = 2000
	tables  = `CREATE TABLE IF NOT EXISTS bench_kept(job_id uuid PRIMARY KEY, payload jsonb, at timestamptz DEFAULT now());
		CREATE TABLE offsets(part int PRIMARY KEY, next bigint)`
	insert = `INSERT INTO bench_kept(job_id, payload) SELECT * FROM unnest($1::uuid[], $2::jsonb[]) ON CONFLICT DO NOTHING`
	note   = `INSERT INTO offsets VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET next = excluded.next`
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-kafka:", err)
		os.Exit(1)
	}
}

func consumer(broker, topic string) *kgo.Client {
	parts, err := url.Parse(broker)
	must(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(parts.Host), kgo.ConsumeTopics(topic), kgo.ConsumerGroup("peer-"+topic),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	must(err)
	return client
}

// store commits the rows of these records and how far their partitions have come, or neither.
func store(ctx context.Context, db *pgx.Conn, records []*kgo.Record) error {
	ids, bodies, next := make([]string, len(records)), make([]string, len(records)), map[int32]int64{}
	for i, record := range records {
		var job struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(record.Value, &job); err != nil {
			return err
		}
		ids[i], bodies[i], next[record.Partition] = job.ID, string(record.Value), record.Offset+1
	}
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insert, ids, bodies); err != nil {
			return err
		}
		for part, offset := range next {
			if _, err := tx.Exec(ctx, note, part, offset); err != nil {
				return err
			}
		}
		return nil
	})
}

func drain(ctx context.Context, client *kgo.Client, db *pgx.Conn, jobs int) float64 {
	var began time.Time
	for done := 0; done < jobs; {
		fetches := client.PollRecords(ctx, pollMax)
		must(fetches.Err())
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		if done == 0 {
			began = time.Now()
		}
		must(store(ctx, db, records))
		must(client.CommitRecords(ctx, records...))
		done += len(records)
	}
	return time.Since(began).Seconds()
}

func main() {
	ctx := context.Background()
	jobs, err := strconv.Atoi(os.Args[2])
	must(err)
	db, err := pgx.Connect(ctx, os.Args[1])
	must(err)
	_, err = db.Exec(ctx, tables)
	must(err)
	client := consumer(os.Args[4], os.Args[5])
	seconds := drain(ctx, client, db, jobs)
	client.Close()
	var rows int
	must(db.QueryRow(ctx, "SELECT count(*) FROM bench_kept").Scan(&rows))
	if rows != jobs {
		must(fmt.Errorf("%d rows of %d jobs", rows, jobs))
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{"rate": float64(jobs) / seconds, "seconds": seconds}))
}
