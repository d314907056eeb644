// What clients see of crashes, pauses and changes of the leader.

package clients

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"google.golang.org/grpc"
)

// A client of three nodes goes on when one of them is killed, the leader not excepted, and nothing that was acknowledged is
// gone. A watch over the same endpoints misses nothing and sees nothing twice.
func TestClientsOutliveAKilledNode(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, observer := testContext(t), c.client(t)
	changes := observer.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	const writers, each = 4, 60
	var acknowledged sync.Map
	var all sync.WaitGroup
	var halfway sync.WaitGroup
	halfway.Add(writers)
	for writer := 0; writer < writers; writer++ {
		writer, client := writer, c.client(t)
		all.Add(1)
		go func() {
			defer all.Done()
			for done, attempt := 0, 0; done < each && ctx.Err() == nil; attempt++ {
				// What failed may have happened, so every attempt has a key of its own.
				key := fmt.Sprintf("%s%d/%d", prefix(t), writer, attempt)
				limited, cancel := context.WithTimeout(ctx, 15*time.Second)
				put, err := client.Put(limited, key, "")
				cancel()
				if err != nil {
					continue
				}
				acknowledged.Store(put.Header.Revision, key)
				if done++; done == each/2 {
					halfway.Done()
				}
			}
		}()
	}
	halfway.Wait()
	killed := c.leader(t)
	c.kill(killed)
	all.Wait()
	must(t, ctx.Err())

	last, err := c.client(t).Put(ctx, prefix(t)+"last", "")
	must(t, err)
	seen, previous := map[string]bool{}, int64(0)
	for previous < last.Header.Revision {
		response, isOpen := <-changes
		if !isOpen {
			t.Fatal("the watch ended")
		}
		must(t, response.Err())
		for _, event := range response.Events {
			if event.Kv.ModRevision <= previous {
				t.Fatalf("revision %d came after %d", event.Kv.ModRevision, previous)
			}
			previous = event.Kv.ModRevision
			seen[string(event.Kv.Key)] = true
		}
	}
	c.restart(t, killed)
	count := 0
	for i := range c.nodes {
		client := c.client(t, i)
		acknowledged.Range(func(revision, key any) bool {
			got, err := client.Get(ctx, key.(string))
			if err != nil || len(got.Kvs) != 1 || got.Kvs[0].ModRevision != revision.(int64) {
				t.Errorf("%s of revision %d is not on %s: %v", key, revision, c.nodes[i].name, err)
			}
			if !seen[key.(string)] {
				t.Errorf("the watch missed %s of revision %d", key, revision)
			}
			count++
			return !t.Failed()
		})
	}
	equal(t, "the number of checked keys", count, writers*each*len(c.nodes))
}

// The holder of a mutex keeps it while the leader is moved and then killed: nobody else gets in, and its session goes on.
func TestMutexOutlivesItsLeader(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, client := testContext(t), c.client(t)
	s := session(t, client, concurrency.WithTTL(10))
	mutex := concurrency.NewMutex(s, prefix(t)+"lock")
	must(t, mutex.Lock(ctx))

	contender := session(t, c.client(t), concurrency.WithTTL(30))
	entered := make(chan error, 1)
	next := concurrency.NewMutex(contender, prefix(t)+"lock")
	go func() { entered <- next.Lock(ctx) }()
	awaitKeys(t, client, prefix(t)+"lock/", 2)

	leader := c.leader(t)
	members, err := client.MemberList(ctx)
	must(t, err)
	for _, member := range members.Members {
		if member.Name == c.nodes[(leader+1)%3].name {
			_, err = c.client(t, leader).MoveLeader(ctx, member.ID)
			must(t, err)
		}
	}
	moved := c.leader(t)
	equal(t, "the leader", moved, (leader+1)%3)
	c.kill(moved)
	for {
		owns, err := client.Txn(ctx).If(mutex.IsOwner()).Commit()
		if err == nil {
			equal(t, "ownership after the leader's death", owns.Succeeded, true)
			break
		}
		must(t, ctx.Err())
	}
	select {
	case err := <-entered:
		t.Fatalf("a contender entered: %v", err)
	case <-s.Done():
		t.Fatal("the holder's session ended")
	default:
	}
	must(t, unlock(ctx, mutex))
	must(t, <-entered)
	owns, err := client.Txn(ctx).If(next.IsOwner()).Commit()
	must(t, err)
	equal(t, "the contender's ownership", owns.Succeeded, true)
}

// unlock tries until it is done: a deletion that failed may be tried again.
func unlock(ctx context.Context, mutex *concurrency.Mutex) error {
	for {
		err := mutex.Unlock(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// Clients that ask for a leader are told when there is none, on streams too.
func TestRequiredLeader(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, client := testContext(t), c.client(t, 0)
	required := clientv3.WithRequireLeader(ctx)
	changes := client.Watch(required, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	patient := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-patient).Created, true)
	_, err := client.Put(required, prefix(t)+"before", "")
	must(t, err)
	equal(t, "the event", string((<-changes).Events[0].Kv.Key), prefix(t)+"before")
	equal(t, "the event", string((<-patient).Events[0].Kv.Key), prefix(t)+"before")
	lease, err := client.Grant(ctx, 60)
	must(t, err)
	c.signal(t, 1, syscall.SIGSTOP)
	c.signal(t, 2, syscall.SIGSTOP)
	var end clientv3.WatchResponse
	for response := range changes {
		end = response
	}
	mustFail(t, end.Err(), rpctypes.ErrNoLeader)
	// A stream that begins now is refused before it is told anything.
	refused := <-client.Watch(required, prefix(t)+"before", clientv3.WithRev(1))
	mustFail(t, refused.Err(), rpctypes.ErrNoLeader)
	_, err = client.Put(required, prefix(t)+"key", "")
	mustFail(t, err, rpctypes.ErrNoLeader)
	_, err = client.Get(ctx, prefix(t)+"key", clientv3.WithSerializable())
	must(t, err)
	_, err = client.Txn(ctx).Then(clientv3.OpGet(prefix(t)+"key", clientv3.WithSerializable())).Commit()
	must(t, err)
	_, err = client.KeepAliveOnce(required, lease.ID)
	mustFail(t, err, rpctypes.ErrNoLeader)
	c.signal(t, 1, syscall.SIGCONT)
	c.signal(t, 2, syscall.SIGCONT)
	put := putUntilDone(t, client, prefix(t)+"after", "")
	// Whoever did not ask for a leader has waited, and goes on.
	for {
		response := <-patient
		must(t, response.Err())
		if response.Events[len(response.Events)-1].Kv.ModRevision >= put {
			return
		}
	}
}

// A node that is stopped in order ends its streams so that clients go on elsewhere.
func TestStreamsMoveWhenANodeIsStopped(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, writer := testContext(t), c.client(t, 1, 2)
	client := c.client(t, 0)
	s := session(t, client, concurrency.WithTTL(20))
	changes := client.Watch(ctx, prefix(t), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	equal(t, "the first answer", (<-changes).Created, true)
	client.SetEndpoints(c.endpoints()...)
	c.signal(t, 0, syscall.SIGTERM)
	_ = c.nodes[0].process.Wait()
	c.nodes[0].process = nil
	put := putUntilDone(t, writer, prefix(t)+"key", "")
	response := <-changes
	must(t, response.Err())
	equal(t, "the event", response.Events[0].Kv.ModRevision, put)
	_, err := client.Put(ctx, prefix(t)+"own", "", clientv3.WithLease(s.Lease()))
	must(t, err)
	select {
	case <-s.Done():
		t.Fatal("the session ended with the node")
	default:
	}
}

// raiseNoSpace asks for what clientv3 has no call for.
func raiseNoSpace(ctx context.Context, endpoint string, member uint64) error {
	connection, err := grpc.DialContext(ctx, endpoint, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = pb.NewMaintenanceClient(connection).Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE,
	})
	return err
}
