// etcd's concurrency package: sessions, mutexes and elections, built of keys, leases and watches.

package clients

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func session(t *testing.T, client *clientv3.Client, options ...concurrency.SessionOption) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(client, options...)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSessionEndsWithItsLease(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	s := session(t, client, concurrency.WithTTL(3))
	_, err := client.Put(ctx, prefix(t)+"key", "", clientv3.WithLease(s.Lease()))
	must(t, err)
	_, err = client.Revoke(ctx, s.Lease())
	must(t, err)
	select {
	case <-s.Done():
	case <-ctx.Done():
		t.Fatal("the session goes on without its lease")
	}
	got, err := client.Get(ctx, prefix(t)+"key")
	must(t, err)
	equal(t, "the number of its keys", len(got.Kvs), 0)
}

func TestSessionsCloseRevokesItsLease(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	granted, err := client.Grant(ctx, 60)
	must(t, err)
	s := session(t, client, concurrency.WithLease(granted.ID))
	equal(t, "the lease", s.Lease(), granted.ID)
	must(t, s.Close())
	left, err := client.TimeToLive(ctx, granted.ID)
	must(t, err)
	equal(t, "the time left", left.TTL, int64(-1))
}

// Contenders on different nodes read a counter, and write it back plus one without a compare: only exclusion keeps it right.
func TestMutexExcludes(t *testing.T) {
	const contenders, rounds = 4, 8
	ctx, counter := testContext(t), prefix(t)+"counter"
	var inside int32
	var all sync.WaitGroup
	for i := 0; i < contenders; i++ {
		client := shared.client(t, i%len(shared.nodes))
		s := session(t, client)
		all.Add(1)
		go func() {
			defer all.Done()
			for round := 0; round < rounds; round++ {
				// A fresh one each time, as a mutex keeps the key that it had.
				mutex := concurrency.NewMutex(s, prefix(t)+"lock")
				if err := mutex.Lock(ctx); err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				if atomic.AddInt32(&inside, 1) != 1 {
					t.Error("two contenders have the lock")
				}
				if err := addOne(ctx, client, counter); err != nil {
					t.Error(err)
				}
				atomic.AddInt32(&inside, -1)
				if err := mutex.Unlock(ctx); err != nil {
					t.Errorf("unlock: %v", err)
					return
				}
			}
		}()
	}
	all.Wait()
	got, err := shared.client(t).Get(ctx, counter)
	must(t, err)
	equal(t, "the counter", string(got.Kvs[0].Value), strconv.Itoa(contenders*rounds))
}

func addOne(ctx context.Context, client *clientv3.Client, key string) error {
	got, err := client.Get(ctx, key)
	if err != nil {
		return err
	}
	value := 0
	if len(got.Kvs) > 0 {
		value, _ = strconv.Atoi(string(got.Kvs[0].Value))
	}
	_, err = client.Put(ctx, key, strconv.Itoa(value+1))
	return err
}

func TestMutexIsLostWithItsLease(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	holder := session(t, client, concurrency.WithTTL(2))
	mutex := concurrency.NewMutex(holder, prefix(t)+"lock")
	must(t, mutex.Lock(ctx))
	owns, err := client.Txn(ctx).If(mutex.IsOwner()).Commit()
	must(t, err)
	equal(t, "ownership before", owns.Succeeded, true)
	// Nobody renews the lease any more, as when the holder hangs.
	holder.Orphan()
	next := concurrency.NewMutex(session(t, shared.client(t, 1)), prefix(t)+"lock")
	must(t, next.Lock(ctx))
	owns, err = client.Txn(ctx).If(mutex.IsOwner()).Then(clientv3.OpPut(prefix(t)+"late", "")).Commit()
	must(t, err)
	equal(t, "ownership after the lease ended", owns.Succeeded, false)
	owns, err = client.Txn(ctx).If(next.IsOwner()).Commit()
	must(t, err)
	equal(t, "ownership of the next", owns.Succeeded, true)
	must(t, next.Unlock(ctx))
}

func TestMutexWaiterThatGivesUpLeavesTheLine(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	held := concurrency.NewMutex(session(t, client), prefix(t)+"lock")
	must(t, held.Lock(ctx))
	// Long enough to stand in line: one that gives up while it is on its way there leaves its key behind.
	waiting, giveUp := context.WithTimeout(ctx, time.Second)
	defer giveUp()
	line := client.Watch(ctx, prefix(t)+"lock/", clientv3.WithPrefix(), clientv3.WithRev(held.Header().Revision+1))
	failed := make(chan error, 1)
	go func() {
		waiter := concurrency.NewMutex(session(t, shared.client(t, 2)), prefix(t)+"lock")
		failed <- waiter.Lock(waiting)
	}()
	came := (<-line).Events[0]
	equal(t, "what happened first", came.IsCreate(), true)
	mustFail(t, <-failed, context.DeadlineExceeded)
	left := (<-line).Events[0]
	equal(t, "what happened then", left.Type, clientv3.EventTypeDelete)
	equal(t, "whose key went", string(left.Kv.Key), string(came.Kv.Key))
	must(t, held.Unlock(ctx))
}

func TestElection(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	name := prefix(t) + "office"
	candidate := func(node int) (*concurrency.Election, *concurrency.Session) {
		s := session(t, shared.client(t, node), concurrency.WithTTL(60))
		return concurrency.NewElection(s, name), s
	}
	first, _ := candidate(0)
	_, err := first.Leader(ctx)
	mustFail(t, err, concurrency.ErrElectionNoLeader)
	observed := concurrency.NewElection(session(t, client), name).Observe(ctx)
	awaitLeader := func(value string) {
		t.Helper()
		for response := range observed {
			if string(response.Kvs[0].Value) == value {
				return
			}
		}
		t.Fatalf("%q was never observed to lead", value)
	}
	must(t, first.Campaign(ctx, "first"))
	awaitLeader("first")
	must(t, first.Proclaim(ctx, "first, once more"))
	awaitLeader("first, once more")

	// The second waits, and leads when the first resigns.
	second, seconds := candidate(1)
	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "second") }()
	awaitKeys(t, client, name+"/", 2)
	select {
	case <-won:
		t.Fatal("two lead at once")
	default:
	}
	must(t, first.Resign(ctx))
	must(t, <-won)
	awaitLeader("second")
	mustFail(t, first.Proclaim(ctx, "late"), concurrency.ErrElectionNotLeader)

	// The third leads when the second's session dies.
	third, _ := candidate(2)
	go func() { won <- third.Campaign(ctx, "third") }()
	awaitKeys(t, client, name+"/", 2)
	_, err = client.Revoke(ctx, seconds.Lease())
	must(t, err)
	must(t, <-won)
	awaitLeader("third")
	mustFail(t, second.Proclaim(ctx, "late"), concurrency.ErrElectionNotLeader)

	// Whoever comes back to its office goes on with it.
	leads, err := third.Leader(ctx)
	must(t, err)
	resumed := concurrency.ResumeElection(session(t, client), name, string(leads.Kvs[0].Key), leads.Kvs[0].CreateRevision)
	must(t, resumed.Proclaim(ctx, "third, resumed"))
	awaitLeader("third, resumed")
	must(t, resumed.Resign(ctx))
	_, err = third.Leader(ctx)
	mustFail(t, err, concurrency.ErrElectionNoLeader)
}

// awaitKeys waits until so many keys have a prefix.
func awaitKeys(t *testing.T, client *clientv3.Client, prefix string, count int64) {
	t.Helper()
	ctx := testContext(t)
	changes := client.Watch(ctx, prefix, clientv3.WithPrefix())
	for {
		got, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		must(t, err)
		if got.Count == count {
			return
		}
		if change, isOpen := <-changes; !isOpen {
			t.Fatalf("there are %d keys under %s, wanted: %d; %v", got.Count, prefix, count, change.Err())
		}
	}
}

func TestLockerOfSync(t *testing.T) {
	s := session(t, shared.client(t))
	locker := concurrency.NewLocker(s, prefix(t)+"lock")
	for i := 0; i < 3; i++ {
		locker.Lock()
		locker.Unlock()
	}
}

func TestSessionOfALeaseThatIsNotThere(t *testing.T) {
	client := shared.client(t)
	s, err := concurrency.NewSession(client, concurrency.WithLease(4711))
	if err == nil {
		// The keepalive of such a lease ends at once, and the session with it.
		<-s.Done()
		err = concurrency.NewMutex(s, prefix(t)+"lock").Lock(testContext(t))
	}
	mustFail(t, err, rpctypes.ErrLeaseNotFound)
}
