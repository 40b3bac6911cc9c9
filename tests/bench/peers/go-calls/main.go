// SPDX-License-Identifier: Apache-2.0

// What a Go programmer writes by hand to call a third party from many jobs at once: go-calls URL IN_FLIGHT SECONDS. A goroutine for each
// place in flight, one client that keeps its connections, a time-out, an idempotency key for each call, the answer read to its end.
// Prints one JSON line. The clock starts when each place has made two calls.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	body      = `{"order":"0193588b-6c1a-7d2e-9f33-5a1b2c3d4e5f","total":4815}`
	key       = "0193588b-6c1a-8d2e-9f33-5a1b2c3d4e5f"
	warmCalls = 2
	answerMax = 1 << 20
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-calls:", err)
		os.Exit(1)
	}
}

func call(client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	must(err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerMax))
	if err == nil && (response.StatusCode != http.StatusOK || !json.Valid(answer)) {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return err
}

func cpu() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func main() {
	url := os.Args[1]
	inFlight, err := strconv.Atoi(os.Args[2])
	must(err)
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	must(err)
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight}}
	var calls, failures atomic.Int64
	var warm sync.WaitGroup
	begin, over := make(chan struct{}), make(chan struct{})
	warm.Add(inFlight)
	for range inFlight {
		go func() {
			for n := 0; ; n++ {
				if n == warmCalls {
					warm.Done()
					<-begin
				}
				if call(client, url) != nil {
					failures.Add(1)
				}
				calls.Add(1)
			}
		}()
	}
	warm.Wait()
	calls.Store(0)
	began, usedBefore := time.Now(), cpu()
	close(begin)
	time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() { close(over) })
	<-over
	took, used, made := time.Since(began), cpu()-usedBefore, calls.Load()
	if failures.Load() > 0 {
		must(fmt.Errorf("%d of %d calls failed", failures.Load(), made))
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"rate":           float64(made) / took.Seconds(),
		"cpu_us_per_job": map[string]float64{"worker": float64(used.Microseconds()) / float64(made)},
	}))
}
