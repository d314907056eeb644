// Watches of clientv3: what they are told, and how they go on when something comes between.

package clients

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func TestWatchFromAPastRevision(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	first, err := client.Put(ctx, prefix(t)+"a", "1")
	must(t, err)
	_, err = client.Put(ctx, prefix(t)+"a", "2")
	must(t, err)
	_, err = client.Delete(ctx, prefix(t)+"a")
	must(t, err)
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision),
		clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	var story []string
	for len(story) < 4 {
		response := <-changes
		must(t, response.Err())
		for _, event := range response.Events {
			previous := ""
			if event.PrevKv != nil {
				previous = string(event.PrevKv.Value)
			}
			story = append(story, fmt.Sprintf("%v %s<-%s", event.Type, event.Kv.Value, previous))
		}
		if len(story) == 3 {
			// From the past into the present.
			_, err = client.Put(ctx, prefix(t)+"b", "3")
			must(t, err)
		}
	}
	equal(t, "the story", strings.Join(story, ", "), "PUT 1<-, PUT 2<-1, DELETE <-2, PUT 3<-")
}

func TestWatchFiltersAndManyOnOneStream(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	puts := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithFilterDelete())
	deletions := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithFilterPut())
	one, forget := context.WithCancel(ctx)
	forgotten := client.Watch(one, prefix(t)+"forgotten")
	var many []clientv3.WatchChan
	for i := 0; i < 100; i++ {
		many = append(many, client.Watch(ctx, fmt.Sprintf("%s%d", prefix(t), i), clientv3.WithCreatedNotify()))
	}
	for _, changes := range many {
		equal(t, "the first answer", (<-changes).Created, true)
	}
	for i := range many {
		_, err := client.Put(ctx, fmt.Sprintf("%s%d", prefix(t), i), "")
		must(t, err)
	}
	for i, changes := range many {
		equal(t, "the key", string((<-changes).Events[0].Kv.Key), fmt.Sprintf("%s%d", prefix(t), i))
	}
	_, err := client.Delete(ctx, prefix(t), clientv3.WithPrefix())
	must(t, err)
	for seen := 0; seen < len(many); {
		for _, event := range (<-puts).Events {
			equal(t, "the type", event.Type, clientv3.EventTypePut)
			seen++
		}
	}
	for seen := 0; seen < len(many); {
		for _, event := range (<-deletions).Events {
			equal(t, "the type", event.Type, clientv3.EventTypeDelete)
			seen++
		}
	}
	forget()
	for range forgotten {
		t.Fatal("a watch that was given up has events")
	}
}

func TestWatchProgressOnRequest(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	beside, err := client.Put(ctx, "/beside"+prefix(t), "")
	must(t, err)
	// A member that has not heard of the put yet says an older revision: it is asked again.
	for {
		must(t, client.RequestProgress(ctx))
		response := <-changes
		must(t, response.Err())
		equal(t, "whether it is progress", response.IsProgressNotify(), true)
		if response.Header.Revision >= beside.Header.Revision {
			return
		}
	}
}

func TestWatchFragments(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithFragment(), clientv3.WithPrevKV())
	var revision int64
	for round := 0; round < 2; round++ {
		var puts []clientv3.Op
		for i := 0; i < 100; i++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%d", prefix(t), i), strings.Repeat("x", 14_000)))
		}
		done, err := client.Txn(ctx).Then(puts...).Commit()
		must(t, err)
		revision = done.Header.Revision
	}
	// The client puts fragments together, so a revision still comes whole.
	for seen := 0; seen < 200; {
		response := <-changes
		must(t, response.Err())
		seen += len(response.Events)
		if seen == 200 {
			equal(t, "the last revision", response.Events[len(response.Events)-1].Kv.ModRevision, revision)
		}
	}
}

func TestWatchOverACompaction(t *testing.T) {
	c := ownCluster(t, 1)
	ctx, client := testContext(t), c.client(t)
	var last int64
	for i := 0; i < 10; i++ {
		put, err := client.Put(ctx, "key", fmt.Sprint(i))
		must(t, err)
		last = put.Header.Revision
	}
	_, err := client.Compact(ctx, last-2)
	must(t, err)
	changes := client.Watch(ctx, "key", clientv3.WithRev(2))
	refused := <-changes
	mustFail(t, refused.Err(), rpctypes.ErrCompacted)
	equal(t, "where it may go on", refused.CompactRevision, last-2)
	if _, isOpen := <-changes; isOpen {
		t.Fatal("the watch goes on")
	}
	again := client.Watch(ctx, "key", clientv3.WithRev(refused.CompactRevision))
	for next := refused.CompactRevision; next <= last; {
		response := <-again
		must(t, response.Err())
		for _, event := range response.Events {
			equal(t, "the revision", event.Kv.ModRevision, next)
			next++
		}
	}
}

// The member that serves a watch crashes, and what it would have to tell is compacted before it is back. The watcher gets
// every event, or is told from which revision it may go on; it never misses one without a word.
func TestWatchResumesOverACompaction(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, watcher, writer := testContext(t), c.client(t, 0), c.client(t, 1, 2)
	changes := watcher.Watch(ctx, "key", clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	seen, err := writer.Put(ctx, "key", "seen")
	must(t, err)
	equal(t, "the event", (<-changes).Events[0].Kv.ModRevision, seen.Header.Revision)
	c.kill(0)
	var last int64
	for i := 0; i < 20; i++ {
		last = putUntilDone(t, writer, "key", fmt.Sprint(i))
	}
	for {
		_, err = writer.Compact(ctx, last-5)
		if err == nil || err == rpctypes.ErrCompacted {
			break
		}
		must(t, ctx.Err())
	}
	c.restart(t, 0)
	next := seen.Header.Revision + 1
	for next <= last {
		response, isOpen := <-changes
		if !isOpen {
			t.Fatalf("the watch ended without a word before revision %d", next)
		}
		if response.Err() == rpctypes.ErrCompacted {
			if response.CompactRevision <= next {
				t.Fatalf("told of a compaction at %d, which does not keep it from %d", response.CompactRevision, next)
			}
			next = response.CompactRevision
			changes = watcher.Watch(ctx, "key", clientv3.WithRev(next))
			continue
		}
		must(t, response.Err())
		for _, event := range response.Events {
			if event.Kv.ModRevision != next && string(event.Kv.Value) != "" {
				t.Fatalf("revision %d came where %d was next", event.Kv.ModRevision, next)
			}
			next = event.Kv.ModRevision + 1
		}
	}
}

// putUntilDone puts until it is acknowledged, and returns the revision.
func putUntilDone(t *testing.T, client *clientv3.Client, key, value string) int64 {
	t.Helper()
	ctx := testContext(t)
	for {
		put, err := client.Put(ctx, key, value)
		if err == nil {
			return put.Header.Revision
		}
		must(t, ctx.Err())
	}
}
