// An open loop of puts with etcd's Go client, as one would write it: arrivals at random intervals, a goroutine for each put,
// round the connections in turn. What Benchmarks/compare-generator lays beside `portcullis bench put`.
//
// Usage: loop ENDPOINT RATE CONNECTIONS SECONDS WARM_UP_SECONDS; prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
)

const (
	keyCount   = 10_000
	valueBytes = 256
	// A histogram of microseconds up to a second; what is above counts as that.
	cells = 1_000_000
)

// Counts are shared by all goroutines, which an atomic addition to one of a million cells makes cheap.
type histogram struct {
	counts []uint32
}

func (h *histogram) record(length time.Duration) {
	cell := length.Microseconds()
	if cell >= cells {
		cell = cells - 1
	} else if cell < 0 {
		cell = 0
	}
	atomic.AddUint32(&h.counts[cell], 1)
}

// percentile returns microseconds, rounded up.
func (h *histogram) percentile(percent float64) int {
	var total, seen uint64
	for _, count := range h.counts {
		total += uint64(count)
	}
	for cell, count := range h.counts {
		if seen += uint64(count); float64(seen) >= float64(total)*percent/100 {
			return cell + 1
		}
	}
	return 0
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	must(err)
	return value
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: loop ENDPOINT RATE CONNECTIONS SECONDS WARM_UP_SECONDS")
		os.Exit(64)
	}
	rate, seconds, warmUp := number(os.Args[2]), number(os.Args[4]), number(os.Args[5])
	clients := make([]*clientv3.Client, int(number(os.Args[3])))
	for i := range clients {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}, DialTimeout: 5 * time.Second})
		must(err)
		_, err = client.Put(context.Background(), "warm", "up")
		must(err)
		clients[i] = client
	}
	keys := make([]string, keyCount)
	for i := range keys {
		keys[i] = fmt.Sprintf("portcullis/bench/%015d", i)
	}
	noise := make([]byte, valueBytes)
	rand.Read(noise)
	value := string(noise)

	lag, latency := histogram{make([]uint32, cells)}, histogram{make([]uint32, cells)}
	var answered, failed int64
	var inFlight sync.WaitGroup
	begin := time.Now()
	from := begin.Add(time.Duration(warmUp * 1e9))
	until := from.Add(time.Duration(seconds * 1e9))
	started := 0
	for intended := begin; ; {
		intended = intended.Add(time.Duration(rand.ExpFloat64() / rate * 1e9))
		if intended.After(until) {
			break
		}
		// Several may be due at once, and then none of them is slept for.
		if wait := time.Until(intended); wait > 0 {
			time.Sleep(wait)
		}
		client, key, due := clients[started%len(clients)], keys[rand.Intn(keyCount)], intended
		started++
		inFlight.Add(1)
		go func() {
			defer inFlight.Done()
			sent := time.Now()
			_, err := client.Put(context.Background(), key, value)
			now := time.Now()
			if due.Before(from) {
				return
			}
			lag.record(sent.Sub(due))
			if err != nil {
				atomic.AddInt64(&failed, 1)
				return
			}
			latency.record(now.Sub(due))
			if now.Before(until) {
				atomic.AddInt64(&answered, 1)
			}
		}()
	}
	inFlight.Wait()
	must(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"puts":                     started,
		"achieved_per_second":      float64(answered) / seconds,
		"failed":                   failed,
		"lag_p99_microseconds":     lag.percentile(99),
		"latency_p50_microseconds": latency.percentile(50),
		"latency_p99_microseconds": latency.percentile(99),
	}))
}
