// Leases of clientv3.

package clients

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func TestLeaseExpiresWithItsKeys(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	begin := time.Now()
	lease, err := client.Grant(ctx, 1)
	must(t, err)
	// The least time is one and a half elections.
	equal(t, "the time to live", lease.TTL, int64(2))
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix())
	for _, key := range []string{"a", "b"} {
		_, err = client.Put(ctx, prefix(t)+key, "", clientv3.WithLease(lease.ID))
		must(t, err)
	}
	kept, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	must(t, err)
	equal(t, "the number of its keys", len(kept.Keys), 2)
	equal(t, "the time that was granted", kept.GrantedTTL, int64(2))
	for deleted := 0; deleted < 2; {
		response := <-changes
		must(t, response.Err())
		for _, event := range response.Events {
			if event.Type == clientv3.EventTypeDelete {
				deleted++
			}
		}
	}
	if lived := time.Since(begin); lived < 2*time.Second {
		t.Fatalf("the lease ended after %v", lived)
	}
	left, err := client.TimeToLive(ctx, lease.ID)
	must(t, err)
	equal(t, "the time left", left.TTL, int64(-1))
}

func TestKeepAliveKeepsALease(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	lease, err := client.Grant(ctx, 2)
	must(t, err)
	put, err := client.Put(ctx, prefix(t)+"key", "", clientv3.WithLease(lease.ID))
	must(t, err)
	// A member may be behind the one that answered the put: a watch from its own now would begin with the put.
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision+1))
	renewing, stop := context.WithCancel(ctx)
	renewals, err := client.KeepAlive(renewing, lease.ID)
	must(t, err)
	for begin := time.Now(); time.Since(begin) < 5*time.Second; {
		select {
		case renewal, isOpen := <-renewals:
			if !isOpen {
				t.Fatal("the renewals ended")
			}
			equal(t, "the time to live", renewal.TTL, int64(2))
		case <-changes:
			t.Fatal("the key went although its lease was kept alive")
		}
	}
	stop()
	for range renewals {
	}
	event := (<-changes).Events[0]
	equal(t, "what happened then", event.Type, clientv3.EventTypeDelete)
}

func TestManyLeasesKeptAliveOnOneStream(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	var channels []<-chan *clientv3.LeaseKeepAliveResponse
	var ids []clientv3.LeaseID
	for i := 0; i < 50; i++ {
		lease, err := client.Grant(ctx, 5)
		must(t, err)
		renewals, err := client.KeepAlive(ctx, lease.ID)
		must(t, err)
		channels, ids = append(channels, renewals), append(ids, lease.ID)
	}
	for i, renewals := range channels {
		equal(t, "the lease", (<-renewals).ID, ids[i])
	}
	all, err := client.Leases(ctx)
	must(t, err)
	known := map[clientv3.LeaseID]bool{}
	for _, lease := range all.Leases {
		known[lease.ID] = true
	}
	for _, id := range ids {
		equal(t, "whether the lease is listed", known[id], true)
		_, err := client.Revoke(ctx, id)
		must(t, err)
	}
	// A lease that was revoked ends its renewals.
	for _, renewals := range channels {
		for range renewals {
		}
	}
}

func TestLeasesAreListedByTheirEnds(t *testing.T) {
	// In etcd the leader alone knows the ends.
	ctx, client := testContext(t), shared.client(t, shared.leader(t))
	var ids []clientv3.LeaseID
	for _, ttl := range []int64{9000, 7000, 8000} {
		lease, err := client.Grant(ctx, ttl)
		must(t, err)
		ids = append(ids, lease.ID)
	}
	list, err := client.Leases(ctx)
	must(t, err)
	last := list.Leases[len(list.Leases)-3:]
	for i, wanted := range []clientv3.LeaseID{ids[1], ids[2], ids[0]} {
		equal(t, "the lease", last[i].ID, wanted)
		_, err := client.Revoke(ctx, wanted)
		must(t, err)
	}
}

func TestLeaseErrors(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	_, err := client.Revoke(ctx, 4711)
	mustFail(t, err, rpctypes.ErrLeaseNotFound)
	_, err = client.KeepAliveOnce(ctx, 4711)
	mustFail(t, err, rpctypes.ErrLeaseNotFound)
	_, err = client.Put(ctx, prefix(t)+"key", "", clientv3.WithLease(4711))
	mustFail(t, err, rpctypes.ErrLeaseNotFound)
	_, err = client.Grant(ctx, 9_000_000_001)
	mustFail(t, err, rpctypes.ErrLeaseTTLTooLarge)
	renewed, err := client.Grant(ctx, 60)
	must(t, err)
	once, err := client.KeepAliveOnce(ctx, renewed.ID)
	must(t, err)
	equal(t, "the time to live", once.TTL, int64(60))
	_, err = client.Revoke(ctx, renewed.ID)
	must(t, err)
}
