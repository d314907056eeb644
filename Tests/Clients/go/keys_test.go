// Keys through clientv3: transactions, pages, limits, compaction, and the wrappers that come with it.

package clients

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/clientv3/leasing"
	"go.etcd.io/etcd/clientv3/mirror"
	"go.etcd.io/etcd/clientv3/namespace"
	"go.etcd.io/etcd/clientv3/ordering"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
)

// fill puts so many keys under a prefix, in transactions as large as the server takes them.
func fill(t *testing.T, client *clientv3.Client, prefix string, count int) {
	t.Helper()
	const largest = 128
	for from := 0; from < count; from += largest {
		var puts []clientv3.Op
		for i := from; i < from+largest && i < count; i++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%05d", prefix, i), fmt.Sprint(i)))
		}
		_, err := client.Txn(testContext(t)).Then(puts...).Commit()
		must(t, err)
	}
}

func TestPagesOfOneRevision(t *testing.T) {
	const count, page = 1000, 64
	ctx, client := testContext(t), shared.client(t)
	fill(t, client, prefix(t), count)
	end := clientv3.GetPrefixRangeEnd(prefix(t))
	var revision int64
	var seen []string
	for next, more := prefix(t), true; more; {
		got, err := client.Get(ctx, next, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		must(t, err)
		if revision == 0 {
			revision = got.Header.Revision
			// What changes between pages is not seen on them.
			_, err := client.Delete(ctx, prefix(t), clientv3.WithPrefix())
			must(t, err)
		}
		equal(t, "the count", got.Count, int64(count-len(seen)))
		for _, kv := range got.Kvs {
			seen = append(seen, string(kv.Value))
			next = string(kv.Key) + "\x00"
		}
		more = got.More
	}
	equal(t, "the number of keys", len(seen), count)
	for i, value := range seen {
		equal(t, "a value", value, fmt.Sprint(i))
	}
	now, err := client.Get(ctx, prefix(t), clientv3.WithPrefix())
	must(t, err)
	equal(t, "what is left", now.Count, int64(0))
}

func TestOrdersAndFilters(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	var revisions []int64
	for _, key := range []string{"c", "a", "b", "a"} {
		put, err := client.Put(ctx, prefix(t)+key, fmt.Sprint(len(revisions)))
		must(t, err)
		revisions = append(revisions, put.Header.Revision)
	}
	cases := []struct {
		options []clientv3.OpOption
		wanted  string
	}{
		{nil, "a b c"},
		{[]clientv3.OpOption{clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)}, "c b a"},
		{[]clientv3.OpOption{clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)}, "c a b"},
		{[]clientv3.OpOption{clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend)}, "a b c"},
		{[]clientv3.OpOption{clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend), clientv3.WithLimit(1)}, "a"},
		{[]clientv3.OpOption{clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)}, "c b a"},
		{[]clientv3.OpOption{clientv3.WithMinModRev(revisions[2])}, "a b"},
		{[]clientv3.OpOption{clientv3.WithMaxModRev(revisions[2])}, "b c"},
		{[]clientv3.OpOption{clientv3.WithMinCreateRev(revisions[1])}, "a b"},
		{[]clientv3.OpOption{clientv3.WithMaxCreateRev(revisions[1])}, "a c"},
		{[]clientv3.OpOption{clientv3.WithRev(revisions[1])}, "a c"},
		{[]clientv3.OpOption{clientv3.WithSerializable(), clientv3.WithKeysOnly()}, "a b c"},
		{[]clientv3.OpOption{clientv3.WithCountOnly()}, ""},
		{clientv3.WithFirstCreate(), "c"},
		{clientv3.WithLastRev(), "a"},
	}
	for _, example := range cases {
		got, err := client.Get(ctx, prefix(t), append(example.options, clientv3.WithPrefix())...)
		must(t, err)
		var keys []string
		for _, kv := range got.Kvs {
			keys = append(keys, strings.TrimPrefix(string(kv.Key), prefix(t)))
		}
		equal(t, "the order", strings.Join(keys, " "), example.wanted)
	}
}

func TestLargeTransactions(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	var puts []clientv3.Op
	for i := 0; i < 129; i++ {
		puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%03d", prefix(t), i), strings.Repeat("x", 8000)))
	}
	_, err := client.Txn(ctx).Then(puts...).Commit()
	mustFail(t, err, rpctypes.ErrTooManyOps)
	done, err := client.Txn(ctx).Then(puts[:128]...).Commit()
	must(t, err)
	equal(t, "the number of answers", len(done.Responses), 128)
	_, err = client.Txn(ctx).Then(puts[0], puts[0]).Commit()
	mustFail(t, err, rpctypes.ErrDuplicateKey)

	var gets []clientv3.Op
	for i := 0; i < 128; i++ {
		gets = append(gets, clientv3.OpGet(fmt.Sprintf("%s%03d", prefix(t), i)))
	}
	read, err := client.Txn(ctx).Then(gets...).Commit()
	must(t, err)
	for _, answer := range read.Responses {
		equal(t, "a value's length", len(answer.GetResponseRange().Kvs[0].Value), 8000)
		equal(t, "a revision", answer.GetResponseRange().Kvs[0].ModRevision, done.Header.Revision)
	}
}

func TestLargeValues(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	const mebibyte = 1 << 20
	value := strings.Repeat("v", mebibyte)
	_, err := client.Put(ctx, prefix(t)+"large", value)
	must(t, err)
	got, err := client.Get(ctx, prefix(t)+"large")
	must(t, err)
	equal(t, "the value", string(got.Kvs[0].Value) == value, true)
	_, err = client.Put(ctx, prefix(t)+"larger", strings.Repeat("v", 3*mebibyte/2+1))
	mustFail(t, err, rpctypes.ErrRequestTooLarge)
	// A client that is allowed to send more is refused by the server's own limit of a message.
	generous, err := connectWith(clientv3.Config{Endpoints: shared.endpoints(0), MaxCallSendMsgSize: 8 * mebibyte})
	must(t, err)
	defer generous.Close()
	_, err = generous.Put(ctx, prefix(t)+"largest", strings.Repeat("v", 4*mebibyte))
	if err == nil || !strings.Contains(err.Error(), "received message larger than max") {
		t.Fatalf("the error of a message of 4 MiB is %v", err)
	}
	// Many large values are more than a client is sent by default, which clientv3 sets to no limit.
	for i := 0; i < 16; i++ {
		_, err := client.Put(ctx, fmt.Sprintf("%smany/%d", prefix(t), i), value)
		must(t, err)
	}
	all, err := client.Get(ctx, prefix(t)+"many/", clientv3.WithPrefix())
	must(t, err)
	equal(t, "the number of large values", len(all.Kvs), 16)
	_, err = client.Delete(ctx, prefix(t), clientv3.WithPrefix())
	must(t, err)
}

// A client that sends its messages compressed, as etcd's server takes them.
func TestCompressedMessages(t *testing.T) {
	compressing := grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name))
	client, err := connectWith(clientv3.Config{Endpoints: shared.endpoints(), DialOptions: []grpc.DialOption{compressing}})
	must(t, err)
	defer client.Close()
	ctx := testContext(t)
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	for _, value := range []string{"", "short", strings.Repeat("long ", 100_000)} {
		_, err := client.Put(ctx, prefix(t)+"key", value)
		must(t, err)
		got, err := client.Get(ctx, prefix(t)+"key")
		must(t, err)
		equal(t, "the value", string(got.Kvs[0].Value) == value, true)
		equal(t, "the event", string((<-changes).Events[0].Kv.Value) == value, true)
	}
	_, err = client.Put(ctx, prefix(t)+"key", strings.Repeat("x", 1536*1024))
	mustFail(t, err, rpctypes.ErrRequestTooLarge)
}

func TestComparesAndNesting(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	key := prefix(t) + "key"
	lease, err := client.Grant(ctx, 60)
	must(t, err)
	put, err := client.Put(ctx, key, "value", clientv3.WithLease(lease.ID))
	must(t, err)
	compares := map[string]struct {
		compare clientv3.Cmp
		wanted  bool
	}{
		"value":         {clientv3.Compare(clientv3.Value(key), "=", "value"), true},
		"greater value": {clientv3.Compare(clientv3.Value(key), ">", "value"), false},
		"version":       {clientv3.Compare(clientv3.Version(key), "<", 2), true},
		"create":        {clientv3.Compare(clientv3.CreateRevision(key), "!=", put.Header.Revision), false},
		"mod":           {clientv3.Compare(clientv3.ModRevision(key), "=", put.Header.Revision), true},
		"lease":         {clientv3.Compare(clientv3.LeaseValue(key), "=", lease.ID), true},
		"range":         {clientv3.Compare(clientv3.ModRevision(prefix(t)), ">", 0).WithPrefix(), true},
		"absent":        {clientv3.Compare(clientv3.CreateRevision(key+"?"), "=", 0), true},
		"absent value":  {clientv3.Compare(clientv3.Value(key+"?"), "=", ""), false},
	}
	for name, example := range compares {
		done, err := client.Txn(ctx).If(example.compare).Then(clientv3.OpGet(key)).Commit()
		must(t, err)
		equal(t, "the compare of "+name, done.Succeeded, example.wanted)
	}
	inner := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", "changed")},
		[]clientv3.Op{clientv3.OpPut(prefix(t)+"then", "", clientv3.WithLease(lease.ID)), clientv3.OpGet(key)},
		[]clientv3.Op{clientv3.OpPut(prefix(t)+"else", "")})
	outer, err := client.Txn(ctx).Then(clientv3.OpPut(prefix(t)+"beside", ""), inner).Commit()
	must(t, err)
	equal(t, "the inner outcome", outer.Responses[1].GetResponseTxn().Succeeded, false)
	ignoring, err := client.Put(ctx, key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease(), clientv3.WithPrevKV())
	must(t, err)
	equal(t, "the previous value", string(ignoring.PrevKv.Value), "value")
	_, err = client.Put(ctx, prefix(t)+"new", "", clientv3.WithIgnoreValue())
	mustFail(t, err, rpctypes.ErrKeyNotFound)
	deleted, err := client.Delete(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithPrevKV())
	must(t, err)
	equal(t, "the number of deleted keys", deleted.Deleted, int64(len(deleted.PrevKvs)))
	_, err = client.Revoke(ctx, lease.ID)
	must(t, err)
}

func TestCompactedAndFutureRevisions(t *testing.T) {
	c := ownCluster(t, 1)
	ctx, client := testContext(t), c.client(t)
	var last int64
	for i := 0; i < 5; i++ {
		put, err := client.Put(ctx, "key", fmt.Sprint(i))
		must(t, err)
		last = put.Header.Revision
	}
	_, err := client.Compact(ctx, last-1, clientv3.WithCompactPhysical())
	must(t, err)
	_, err = client.Get(ctx, "key", clientv3.WithRev(last-2))
	mustFail(t, err, rpctypes.ErrCompacted)
	_, err = client.Compact(ctx, last-1)
	mustFail(t, err, rpctypes.ErrCompacted)
	_, err = client.Compact(ctx, last+1)
	mustFail(t, err, rpctypes.ErrFutureRev)
	_, err = client.Get(ctx, "key", clientv3.WithRev(last+1))
	mustFail(t, err, rpctypes.ErrFutureRev)
	got, err := client.Get(ctx, "key", clientv3.WithRev(last-1))
	must(t, err)
	equal(t, "the value at the compacted revision", string(got.Kvs[0].Value), "3")
}

func TestNamespace(t *testing.T) {
	ctx, plain := testContext(t), shared.client(t)
	inside := shared.client(t)
	inside.KV = namespace.NewKV(inside.KV, prefix(t))
	inside.Watcher = namespace.NewWatcher(inside.Watcher, prefix(t))
	inside.Lease = namespace.NewLease(inside.Lease, prefix(t))

	changes := inside.Watch(ctx, "", clientv3.WithPrefix())
	s := session(t, inside)
	mutex := concurrency.NewMutex(s, "lock")
	must(t, mutex.Lock(ctx))
	event := (<-changes).Events[0]
	equal(t, "the key inside", string(event.Kv.Key), mutex.Key())
	got, err := plain.Get(ctx, prefix(t)+mutex.Key())
	must(t, err)
	equal(t, "the number of keys outside", len(got.Kvs), 1)
	kept, err := inside.TimeToLive(ctx, s.Lease(), clientv3.WithAttachedKeys())
	must(t, err)
	equal(t, "the key of the lease", string(kept.Keys[0]), mutex.Key())
	done, err := inside.Txn(ctx).If(mutex.IsOwner()).Then(clientv3.OpPut("a", "1"), clientv3.OpGet("", clientv3.WithFromKey())).Commit()
	must(t, err)
	equal(t, "ownership", done.Succeeded, true)
	equal(t, "what is inside", len(done.Responses[1].GetResponseRange().Kvs), 2)
	deleted, err := inside.Delete(ctx, "a", clientv3.WithFromKey())
	must(t, err)
	equal(t, "what was deleted", deleted.Deleted, int64(2))
}

// A client of etcd's ordering package never sees an older revision after a newer one, whichever member it asks.
func TestOrderingOverMembers(t *testing.T) {
	ctx, writer := testContext(t), shared.client(t, 0)
	reader := shared.client(t)
	ordered := ordering.NewKV(reader.KV, ordering.NewOrderViolationSwitchEndpointClosure(reader))
	var last int64
	for i := 0; i < 100; i++ {
		_, err := writer.Put(ctx, prefix(t)+"key", fmt.Sprint(i))
		must(t, err)
		got, err := ordered.Get(ctx, prefix(t)+"key", clientv3.WithSerializable())
		if err == ordering.ErrNoGreaterRev {
			continue
		}
		must(t, err)
		if got.Header.Revision < last {
			t.Fatalf("revision %d came after %d", got.Header.Revision, last)
		}
		last = got.Header.Revision
	}
}

// Two caches of etcd's leasing package: a write through one is seen through the other at once.
func TestLeasingCaches(t *testing.T) {
	ctx := testContext(t)
	var caches []clientv3.KV
	for i := 0; i < 2; i++ {
		kv, closeCache, err := leasing.NewKV(shared.client(t, i), prefix(t)+"leases/")
		must(t, err)
		defer closeCache()
		caches = append(caches, kv)
	}
	key := prefix(t) + "data/key"
	for round := 0; round < 5; round++ {
		for i, kv := range caches {
			value := fmt.Sprintf("%d of %d", round, i)
			_, err := kv.Put(ctx, key, value)
			must(t, err)
			for _, other := range caches {
				got, err := other.Get(ctx, key)
				must(t, err)
				equal(t, "the value", string(got.Kvs[0].Value), value)
			}
		}
	}
	done, err := caches[0].Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", "4 of 1")).
		Then(clientv3.OpDelete(key)).Commit()
	must(t, err)
	equal(t, "the compare", done.Succeeded, true)
	got, err := caches[1].Get(ctx, key)
	must(t, err)
	equal(t, "the number of keys", len(got.Kvs), 0)
}

func TestMirror(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	fill(t, client, prefix(t), 300)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	syncer := mirror.NewSyncer(client, prefix(t), 0)
	pages, failures := syncer.SyncBase(ctx)
	count := 0
	for page := range pages {
		count += len(page.Kvs)
	}
	must(t, <-failures)
	equal(t, "the number of keys", count, 300)
	updates := syncer.SyncUpdates(ctx)
	_, err := client.Put(ctx, prefix(t)+"later", "")
	must(t, err)
	equal(t, "the update", string((<-updates).Events[0].Kv.Key), prefix(t)+"later")
}
