// Users and roles through clientv3.

package clients

import (
	"testing"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func TestUsersAndRoles(t *testing.T) {
	c := ownCluster(t, 3)
	ctx, open := testContext(t), c.client(t)
	_, err := open.AuthEnable(ctx)
	mustFail(t, err, rpctypes.ErrRootUserNotExist)
	for _, user := range []string{"root", "alice"} {
		_, err = open.UserAdd(ctx, user, "secret of "+user)
		must(t, err)
	}
	_, err = open.UserAdd(ctx, "alice", "again")
	mustFail(t, err, rpctypes.ErrUserAlreadyExist)
	_, err = open.RoleAdd(ctx, "clerk")
	must(t, err)
	_, err = open.RoleGrantPermission(ctx, "clerk", "desk/", clientv3.GetPrefixRangeEnd("desk/"),
		clientv3.PermissionType(clientv3.PermReadWrite))
	must(t, err)
	_, err = open.RoleAdd(ctx, "root")
	must(t, err)
	_, err = open.UserGrantRole(ctx, "root", "root")
	must(t, err)
	_, err = open.UserGrantRole(ctx, "alice", "clerk")
	must(t, err)
	_, err = open.AuthEnable(ctx)
	must(t, err)
	_, err = open.Put(ctx, "desk/paper", "")
	mustFail(t, err, rpctypes.ErrUserEmpty)

	as := func(user, password string) (*clientv3.Client, error) {
		return connectWith(clientv3.Config{Endpoints: c.endpoints(), Username: user, Password: password})
	}
	_, err = as("alice", "wrong")
	mustFail(t, err, rpctypes.ErrAuthFailed)
	alice, err := as("alice", "secret of alice")
	must(t, err)
	defer alice.Close()
	root, err := as("root", "secret of root")
	must(t, err)
	defer root.Close()

	_, err = alice.Put(ctx, "desk/paper", "written")
	must(t, err)
	_, err = alice.Put(ctx, "safe/gold", "")
	mustFail(t, err, rpctypes.ErrPermissionDenied)
	_, err = alice.Get(ctx, "desk/", clientv3.WithFromKey())
	mustFail(t, err, rpctypes.ErrPermissionDenied)
	_, err = alice.UserAdd(ctx, "mallory", "")
	mustFail(t, err, rpctypes.ErrPermissionDenied)
	_, err = alice.Txn(ctx).Then(clientv3.OpPut("desk/a", ""), clientv3.OpPut("safe/a", "")).Commit()
	mustFail(t, err, rpctypes.ErrPermissionDenied)
	// A watch of what may not be read ends with the word.
	denied := <-alice.Watch(ctx, "safe/gold")
	equal(t, "whether the watch was refused", denied.Canceled, true)

	mutex := concurrency.NewMutex(session(t, alice), "desk/lock")
	must(t, mutex.Lock(ctx))
	must(t, mutex.Unlock(ctx))

	// What a role may is asked at every call, so it ends for tokens that were given out before.
	_, err = root.RoleRevokePermission(ctx, "clerk", "desk/", clientv3.GetPrefixRangeEnd("desk/"))
	must(t, err)
	_, err = alice.Get(ctx, "desk/paper")
	mustFail(t, err, rpctypes.ErrPermissionDenied)
	got, err := root.Get(ctx, "desk/paper")
	must(t, err)
	equal(t, "the value", string(got.Kvs[0].Value), "written")

	users, err := root.UserList(ctx)
	must(t, err)
	equal(t, "the number of users", len(users.Users), 2)
	_, err = root.UserChangePassword(ctx, "alice", "changed")
	must(t, err)
	again, err := as("alice", "changed")
	must(t, err)
	again.Close()
	_, err = root.UserDelete(ctx, "alice")
	must(t, err)
	_, err = root.AuthDisable(ctx)
	must(t, err)
	_, err = open.Put(ctx, "safe/gold", "")
	must(t, err)
}
