// SPDX-License-Identifier: Apache-2.0

// What a Go programmer writes by hand between RabbitMQ and PostgreSQL: go-rabbit PGURL JOBS row AMQPURL QUEUE. Whatever has arrived, up
// to 500 messages, is one INSERT while the next batch fills; one acknowledgement a batch after its commit: at least once. One
// inserter keeps the order, so that acknowledging `multiple` is right. Prints one JSON line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	prefetch = 2000
	batchMax = 500
	table    = `CREATE TABLE IF NOT EXISTS bench_kept(job_id uuid PRIMARY KEY, payload jsonb, at timestamptz DEFAULT now())`
	insert   = `INSERT INTO bench_kept(job_id, payload) SELECT * FROM unnest($1::uuid[], $2::jsonb[]) ON CONFLICT DO NOTHING`
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-rabbit:", err)
		os.Exit(1)
	}
}

func consume(url, queue string) <-chan amqp.Delivery {
	connection, err := amqp.Dial(url)
	must(err)
	channel, err := connection.Channel()
	must(err)
	must(channel.Qos(prefetch, 0, false))
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	must(err)
	buffered := make(chan amqp.Delivery, prefetch)
	go func() {
		for delivery := range deliveries {
			buffered <- delivery
		}
		close(buffered)
	}()
	return buffered
}

// batches hands over what has come while the previous batch was inserted.
func batches(deliveries <-chan amqp.Delivery) <-chan []amqp.Delivery {
	made := make(chan []amqp.Delivery)
	go func() {
		for first := range deliveries {
			batch := append(make([]amqp.Delivery, 0, batchMax), first)
		fill:
			for len(batch) < batchMax {
				select {
				case next, ok := <-deliveries:
					if !ok {
						break fill
					}
					batch = append(batch, next)
				default:
					break fill
				}
			}
			made <- batch
		}
		close(made)
	}()
	return made
}

func drain(ctx context.Context, db *pgx.Conn, jobs int, deliveries <-chan amqp.Delivery) float64 {
	var began time.Time
	done := 0
	for batch := range batches(deliveries) {
		if done == 0 {
			began = time.Now()
		}
		ids, bodies := make([]string, len(batch)), make([]string, len(batch))
		for i, delivery := range batch {
			var job struct {
				ID string `json:"id"`
			}
			must(json.Unmarshal(delivery.Body, &job))
			ids[i], bodies[i] = job.ID, string(delivery.Body)
		}
		_, err := db.Exec(ctx, insert, ids, bodies)
		must(err)
		must(batch[len(batch)-1].Ack(true))
		if done += len(batch); done >= jobs {
			return time.Since(began).Seconds()
		}
	}
	must(fmt.Errorf("the channel was closed after %d of %d", done, jobs))
	return 0
}

func main() {
	ctx := context.Background()
	jobs, err := strconv.Atoi(os.Args[2])
	must(err)
	db, err := pgx.Connect(ctx, os.Args[1])
	must(err)
	_, err = db.Exec(ctx, table)
	must(err)
	seconds := drain(ctx, db, jobs, consume(os.Args[4], os.Args[5]))
	var rows int
	must(db.QueryRow(ctx, "SELECT count(*) FROM bench_kept").Scan(&rows))
	if rows != jobs {
		must(fmt.Errorf("%d rows of %d jobs", rows, jobs))
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{"rate": float64(jobs) / seconds, "seconds": seconds}))
}
