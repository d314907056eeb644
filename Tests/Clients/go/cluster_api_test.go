// Cluster and maintenance of clientv3.

package clients

import (
	"io"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func TestMembersAndStatus(t *testing.T) {
	ctx, client := testContext(t), shared.client(t)
	list, err := client.MemberList(ctx)
	must(t, err)
	equal(t, "the number of members", len(list.Members), 3)
	must(t, client.Sync(ctx))
	equal(t, "the number of endpoints that the members advertise", len(client.Endpoints()), 3)
	put, err := client.Put(ctx, prefix(t)+"key", "")
	must(t, err)
	hashes := map[uint32]bool{}
	for i := range shared.nodes {
		one := shared.client(t, i)
		// A linearizable read, so that the member has what the sums are over.
		_, err = one.Get(ctx, prefix(t)+"key")
		must(t, err)
		status, err := one.Status(ctx, shared.endpoints(i)[0])
		must(t, err)
		equal(t, "the cluster", status.Header.ClusterId, list.Header.ClusterId)
		if status.RaftIndex < status.RaftAppliedIndex || status.Version == "" || status.Leader == 0 {
			t.Fatalf("a status cannot be: %v", status)
		}
		sum, err := one.HashKV(ctx, shared.endpoints(i)[0], put.Header.Revision)
		must(t, err)
		hashes[sum.Hash] = true
		_, err = one.Defragment(ctx, shared.endpoints(i)[0])
		must(t, err)
	}
	equal(t, "the number of different sums", len(hashes), 1)
	equal(t, "whether it is 0, as if there were none", hashes[0], false)
	alarms, err := client.AlarmList(ctx)
	must(t, err)
	equal(t, "the number of alarms", len(alarms.Alarms), 0)
}

func TestSnapshotStream(t *testing.T) {
	client := shared.client(t)
	stream, err := client.Snapshot(testContext(t))
	must(t, err)
	size, err := io.Copy(io.Discard, stream)
	must(t, err)
	if size < 32 {
		t.Fatalf("a snapshot of %d bytes cannot even hold its sum", size)
	}
}

func TestMembersComeAndGo(t *testing.T) {
	c := ownCluster(t, 1)
	ctx, client := testContext(t), c.client(t)
	addresses, err := freeAddresses(2)
	must(t, err)
	url := "http://" + addresses[0]
	added, err := client.MemberAddAsLearner(ctx, []string{url})
	must(t, err)
	equal(t, "whether it is a learner", added.Member.IsLearner, true)
	// etcd wants one change to be over for good before it takes another.
	_, err = client.Put(ctx, "between", "")
	must(t, err)
	_, err = client.MemberAddAsLearner(ctx, []string{"http://" + addresses[1], url})
	mustFail(t, err, rpctypes.ErrPeerURLExist)
	_, err = client.MemberPromote(ctx, added.Member.ID)
	mustFail(t, err, rpctypes.ErrMemberLearnerNotReady)
	_, err = client.MemberUpdate(ctx, added.Member.ID, []string{"http://" + addresses[1]})
	must(t, err)
	removed, err := client.MemberRemove(ctx, added.Member.ID)
	must(t, err)
	equal(t, "the number of members", len(removed.Members), 1)
	_, err = client.MemberRemove(ctx, added.Member.ID)
	mustFail(t, err, rpctypes.ErrMemberNotFound)
	_, err = client.MemberUpdate(ctx, 4711, []string{url})
	mustFail(t, err, rpctypes.ErrMemberNotFound)
}

// A node gets another address as etcd describes it: first the cluster is told, then the node is restarted. Until then it is
// talked to where it was, the leader not excepted.
func TestPeerMovesToAnotherAddress(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, client := testContext(t), c.client(t)
	leader := c.leader(t)
	addresses, err := freeAddresses(1)
	must(t, err)
	list, err := client.MemberList(ctx)
	must(t, err)
	for _, member := range list.Members {
		if member.Name == c.nodes[leader].name {
			_, err = client.MemberUpdate(ctx, member.ID, []string{"http://" + addresses[0]})
			must(t, err)
		}
	}
	before, err := client.Status(ctx, c.nodes[leader].client)
	must(t, err)
	// Longer than an election takes: its followers are heard.
	for begin := time.Now(); time.Since(begin) < 3*time.Second; {
		_, err = client.Put(ctx, "key", "")
		must(t, err)
	}
	after, err := client.Status(ctx, c.nodes[leader].client)
	must(t, err)
	equal(t, "the leader", after.Leader, before.Leader)
	equal(t, "the term", after.RaftTerm, before.RaftTerm)

	c.kill(leader)
	c.nodes[leader].peer = addresses[0]
	c.restart(t, leader)
	// It is needed for the majority now.
	c.kill((leader + 1) % 3)
	putUntilDone(t, client, "key", "moved")
	got, err := c.client(t, leader).Get(ctx, "key")
	must(t, err)
	equal(t, "the value", string(got.Kvs[0].Value), "moved")
}

func TestAlarmStopsWritesUntilItIsDisarmed(t *testing.T) {
	c := ownCluster(t, 1)
	ctx, client := testContext(t), c.client(t)
	list, err := client.MemberList(ctx)
	must(t, err)
	must(t, raiseNoSpace(ctx, c.endpoints()[0], list.Members[0].ID))
	_, err = client.Put(ctx, "key", "")
	mustFail(t, err, rpctypes.ErrNoSpace)
	_, err = client.Get(ctx, "key")
	must(t, err)
	alarms, err := client.AlarmList(ctx)
	must(t, err)
	equal(t, "the number of alarms", len(alarms.Alarms), 1)
	disarmed, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	must(t, err)
	equal(t, "the number of alarms that were disarmed", len(disarmed.Alarms), 1)
	_, err = client.Put(ctx, "key", "")
	must(t, err)
}
