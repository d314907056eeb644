// The nodes that the tests talk to: real processes with real disks, on free ports of loopback.
//
// Tests that leave a cluster as it was share one of three nodes; those that kill, pause or reconfigure start their own.

package clients

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// patience is how long one test may take: far longer than it does, for the machine may be busy.
const patience = 90 * time.Second

// shared is there while tests run.
var shared *cluster

func TestMain(m *testing.M) {
	code := func() int {
		var err error
		if shared, err = startCluster(3); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer shared.stop()
		return m.Run()
	}()
	os.Exit(code)
}

type node struct {
	name    string
	client  string
	peer    string
	process *exec.Cmd
}

type cluster struct {
	directory string
	nodes     []*node
}

// startCluster founds a cluster and waits until each of its nodes answers a linearizable read.
func startCluster(size int) (*cluster, error) {
	directory, err := os.MkdirTemp("", "portcullis-clients-")
	if err != nil {
		return nil, err
	}
	c := &cluster{directory: directory}
	addresses, err := freeAddresses(2 * size)
	if err != nil {
		return nil, err
	}
	for i := 0; i < size; i++ {
		c.nodes = append(c.nodes, &node{name: fmt.Sprintf("n%d", i), client: addresses[2*i], peer: addresses[2*i+1]})
	}
	for i := range c.nodes {
		if err := c.start(i); err != nil {
			c.stop()
			return nil, err
		}
	}
	for i := range c.nodes {
		if err := c.awaitReady(i); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

// ownCluster is one that the test may break.
func ownCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c, err := startCluster(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// freeAddresses holds all ports open until it has enough of them, so that no two are the same.
func freeAddresses(count int) ([]string, error) {
	var addresses []string
	for len(addresses) < count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// start starts a node, for the first time or again on the disk that it had.
func (c *cluster) start(i int) error {
	command := strings.Fields(os.Getenv("CORE_COMMAND"))
	if len(command) == 0 {
		return fmt.Errorf("CORE_COMMAND is not set: it starts a node, for example \".build/release/portcullis core\"")
	}
	var founders []string
	for _, n := range c.nodes {
		founders = append(founders, n.name+"=http://"+n.peer)
	}
	n := c.nodes[i]
	arguments := append(command[1:],
		"--name", n.name, "--data-dir", filepath.Join(c.directory, n.name),
		"--listen-client-urls", "http://"+n.client, "--advertise-client-urls", "http://"+n.client,
		"--listen-peer-urls", "http://"+n.peer, "--initial-advertise-peer-urls", "http://"+n.peer,
		"--initial-cluster", strings.Join(founders, ","), "--initial-cluster-token", filepath.Base(c.directory))
	log, err := os.OpenFile(filepath.Join(c.directory, n.name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	process := exec.Command(command[0], arguments...)
	process.Stdout, process.Stderr = log, log
	// No node outlives a test program that was ended by its time limit.
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	n.process = process
	return nil
}

func (c *cluster) awaitReady(i int) error {
	client, err := c.connect(i)
	if err != nil {
		return fmt.Errorf("%s does not answer: %v\n%s", c.nodes[i].name, err, c.log(i))
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if _, err = client.Get(ctx, "health"); err == nil && areAdvertised(ctx, client) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s is not ready: %v\n%s", c.nodes[i].name, err, c.log(i))
		}
	}
}

// areAdvertised says whether a member has heard of each where clients find it, which takes a moment after a start.
func areAdvertised(ctx context.Context, client *clientv3.Client) bool {
	list, err := client.MemberList(ctx)
	if err != nil {
		return false
	}
	for _, member := range list.Members {
		if len(member.ClientURLs) == 0 {
			return false
		}
	}
	return true
}

func (c *cluster) log(i int) string {
	text, _ := os.ReadFile(filepath.Join(c.directory, c.nodes[i].name+".log"))
	return string(text)
}

// kill ends a node as a crash would.
func (c *cluster) kill(i int) {
	if process := c.nodes[i].process; process != nil {
		_ = process.Process.Kill()
		_ = process.Wait()
		c.nodes[i].process = nil
	}
}

func (c *cluster) signal(t *testing.T, i int, signal syscall.Signal) {
	t.Helper()
	if err := c.nodes[i].process.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// restart starts a node that was killed and waits until it answers.
func (c *cluster) restart(t *testing.T, i int) {
	t.Helper()
	if err := c.start(i); err != nil {
		t.Fatal(err)
	}
	if err := c.awaitReady(i); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) stop() {
	for i := range c.nodes {
		c.kill(i)
	}
	_ = os.RemoveAll(c.directory)
}

func (c *cluster) endpoints(nodes ...int) []string {
	var endpoints []string
	for i, n := range c.nodes {
		wanted := len(nodes) == 0
		for _, node := range nodes {
			wanted = wanted || node == i
		}
		if wanted {
			endpoints = append(endpoints, n.client)
		}
	}
	return endpoints
}

// connect connects to some nodes, or to all.
func (c *cluster) connect(nodes ...int) (*clientv3.Client, error) {
	return connectWith(clientv3.Config{Endpoints: c.endpoints(nodes...)})
}

func connectWith(config clientv3.Config) (*clientv3.Client, error) {
	quiet := zap.NewProductionConfig()
	quiet.Level = zap.NewAtomicLevelAt(zap.FatalLevel)
	config.LogConfig = &quiet
	config.DialTimeout = 30 * time.Second
	config.DialOptions = append(config.DialOptions, grpc.WithBlock())
	return clientv3.New(config)
}

// client is a client of some nodes, or of all, for the length of a test.
func (c *cluster) client(t *testing.T, nodes ...int) *clientv3.Client {
	t.Helper()
	client, err := c.connect(nodes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// leader is the node that leads, once all that run agree on one.
func (c *cluster) leader(t *testing.T) int {
	t.Helper()
	ctx := testContext(t)
	for ctx.Err() == nil {
		leader, leaders := -1, map[uint64]bool{}
		for i, n := range c.nodes {
			if n.process == nil {
				continue
			}
			client, err := c.connect(i)
			if err != nil {
				t.Fatal(err)
			}
			status, err := client.Status(ctx, n.client)
			client.Close()
			if err != nil {
				t.Fatal(err)
			}
			leaders[status.Leader] = true
			if status.Leader == status.Header.MemberId {
				leader = i
			}
		}
		if leader >= 0 && len(leaders) == 1 {
			return leader
		}
	}
	t.Fatal("the nodes do not agree on a leader")
	return -1
}

// What tests share:

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// prefix is a part of the keys that is the test's own.
func prefix(t *testing.T) string { return "/" + t.Name() + "/" }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustFail wants one very error: clients compare them.
func mustFail(t *testing.T, err, wanted error) {
	t.Helper()
	if err == nil || err.Error() != wanted.Error() {
		t.Fatalf("the error is %v, wanted: %v", err, wanted)
	}
}

func equal[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("%s is %v, wanted: %v", what, got, wanted)
	}
}
