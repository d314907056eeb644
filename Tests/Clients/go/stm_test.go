// Software transactional memory of etcd's concurrency package: reads that a transaction compares when it commits.

package clients

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

// Concurrent transfers between accounts keep the sum, on every level of isolation that promises so.
func TestSTMTransfersKeepTheSum(t *testing.T) {
	levels := map[string]concurrency.Isolation{
		"SerializableSnapshot": concurrency.SerializableSnapshot,
		"Serializable":         concurrency.Serializable,
		"RepeatableReads":      concurrency.RepeatableReads,
	}
	for name, level := range levels {
		level := level
		t.Run(name, func(t *testing.T) { transfers(t, level) })
	}
}

func transfers(t *testing.T, level concurrency.Isolation) {
	const accounts, tellers, rounds, wealth = 5, 4, 15, 100
	ctx := testContext(t)
	account := func(i int) string { return fmt.Sprintf("%s%d", prefix(t), i%accounts) }
	for i := 0; i < accounts; i++ {
		_, err := shared.client(t).Put(ctx, account(i), strconv.Itoa(wealth))
		must(t, err)
	}
	var all sync.WaitGroup
	for teller := 0; teller < tellers; teller++ {
		teller, client := teller, shared.client(t, teller%len(shared.nodes))
		all.Add(1)
		go func() {
			defer all.Done()
			for round := 0; round < rounds; round++ {
				from, to := account(teller+round), account(teller+2*round+1)
				if from == to {
					continue
				}
				response, err := concurrency.NewSTM(client, transfer(from, to, round%7),
					concurrency.WithIsolation(level), concurrency.WithAbortContext(ctx))
				if err != nil || !response.Succeeded {
					t.Errorf("a transfer failed: %v", err)
				}
			}
		}()
	}
	// An auditor sees the same sum at any time: a transfer is one revision.
	stop, audited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(audited)
		for {
			if sum, err := wealthOf(ctx, shared.client(t), prefix(t)); err != nil || sum != accounts*wealth {
				t.Errorf("the sum is %d (%v), wanted: %d", sum, err, accounts*wealth)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	all.Wait()
	close(stop)
	<-audited
}

func transfer(from, to string, amount int) func(concurrency.STM) error {
	return func(memory concurrency.STM) error {
		source, err := strconv.Atoi(memory.Get(from))
		if err != nil {
			return err
		}
		target, err := strconv.Atoi(memory.Get(to))
		if err != nil {
			return err
		}
		memory.Put(from, strconv.Itoa(source-amount))
		memory.Put(to, strconv.Itoa(target+amount))
		return nil
	}
}

func wealthOf(ctx context.Context, client *clientv3.Client, prefix string) (int, error) {
	got, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, kv := range got.Kvs {
		value, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

// Reads that are merely committed promise no sum, but what one transaction writes is there at once or not at all.
func TestSTMReadCommittedWritesAtOnce(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	left, right := prefix(t)+"left", prefix(t)+"right"
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix())
	const writers, rounds = 3, 10
	var all sync.WaitGroup
	all.Add(writers)
	for writer := 0; writer < writers; writer++ {
		writer, client := writer, shared.client(t, writer)
		go func() {
			defer all.Done()
			for round := 0; round < rounds; round++ {
				value := fmt.Sprintf("%d of %d", round, writer)
				_, err := concurrency.NewSTM(client, func(memory concurrency.STM) error {
					memory.Get(left)
					memory.Put(left, value)
					memory.Put(right, value)
					return nil
				}, concurrency.WithIsolation(concurrency.ReadCommitted), concurrency.WithAbortContext(ctx))
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	byRevision, writes := map[int64]string{}, 0
	for writes < writers*rounds {
		response, isOpen := <-changes
		if !isOpen || response.Err() != nil {
			t.Fatalf("the watch ended: %v", response.Err())
		}
		for _, event := range response.Events {
			value, isSecond := byRevision[event.Kv.ModRevision]
			if isSecond {
				equal(t, "the other half", string(event.Kv.Value), value)
				writes++
			}
			byRevision[event.Kv.ModRevision] = string(event.Kv.Value)
		}
	}
	all.Wait()
	equal(t, "the number of revisions", len(byRevision), writers*rounds)
}

func TestSTMPrefetchDeletionAndRevision(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	key := prefix(t) + "key"
	put, err := client.Put(ctx, key, "before")
	must(t, err)
	_, err = concurrency.NewSTM(client, func(memory concurrency.STM) error {
		if revision := memory.Rev(key); revision != put.Header.Revision {
			return fmt.Errorf("the revision is %d, wanted: %d", revision, put.Header.Revision)
		}
		memory.Del(key)
		memory.Put(prefix(t)+"other", memory.Get(key)+"deleted")
		return nil
	}, concurrency.WithPrefetch(key), concurrency.WithAbortContext(ctx))
	must(t, err)
	got, err := client.Get(ctx, prefix(t), clientv3.WithPrefix())
	must(t, err)
	equal(t, "the number of keys", got.Count, int64(1))
	equal(t, "what the transaction read after its deletion", string(got.Kvs[0].Value), "deleted")
}
