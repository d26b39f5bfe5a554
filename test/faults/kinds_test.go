//go:build e2e

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// kind is one kind of fault.
type kind struct {
	name string
	// short is how long it lasts in most rounds; 0 keeps it out of short runs. In one
	// round in longRounds of a long run, it lasts from least to most.
	short, least, most time.Duration
	// endsStreams: streams through akd may end, because something that carries them
	// does.
	endsStreams bool
	excuses     excuses
	// begin begins it, and over ends it.
	begin func(*testing.T, *field) (over func())
	// where it happens. Faults in the same place do not happen at once.
	where place
	// careful: it begins and ends while all that others break works.
	careful bool
}

// place is where faults happen.
type place string

const (
	inAKD    place = "akd"
	inLocal  place = "local control plane"
	inRemote place = "remote control plane"
	inNodes  place = "remote nodes"
	inLink   place = "link"
)

// at sets where kinds of faults happen.
func at(where place, kinds ...kind) []kind {
	for i := range kinds {
		kinds[i].where = where
	}
	return kinds
}

// careful is a kind that begins and ends while all that others break works.
func careful(k kind) kind {
	k.careful = true
	return k
}

func (k kind) length(choose *rand.Rand, long bool) time.Duration {
	if k.short > 0 && !long {
		return k.short
	}
	return between(choose, k.least, k.most)
}

// longRounds is how many rounds of a long run there are for each whose faults last long.
// What happens at once lasts as long as the longest of it.
const longRounds = 6

// leaseTime is how long a leader that is silent is still the leader: its lease, and
// the time until another akd looks at it.
const leaseTime = 18 * time.Second

// kinds are those of a run. The leader's kubelet API carries all streams, and ends
// when the leader cannot renew its lease in the local cluster.
func kinds(long bool) []kind {
	const s, m = time.Second, time.Minute
	all := slices.Concat(
		at(inAKD,
			careful(kind{
				name: "akd killed", short: 4 * s, least: 2 * s, most: 30 * s,
				endsStreams: true, begin: killAKD(theLeader),
			}),
			careful(kind{
				name: "standby akd killed", short: 3 * s, least: 2 * s, most: 30 * s,
				begin: killAKD(theStandby),
			}),
			careful(kind{
				name: "both akds killed", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, begin: killAKD(theLeader, theStandby),
			}),
			careful(kind{
				name: "leader paused beyond its lease", short: leaseTime, least: leaseTime, most: m,
				endsStreams: true, begin: pauseLeader,
			}),
			careful(kind{name: "clock of akd shifted", least: 20 * s, most: m, endsStreams: true, begin: shiftClock}),
		),
		at(inLocal,
			kind{
				name: "local API server killed", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, begin: kill("local-kube-apiserver"),
			},
			kind{
				name: "local API server hangs", short: 8 * s, least: 5 * s, most: m,
				endsStreams: true, begin: hang("local-kube-apiserver"),
			},
			kind{
				name: "local API server's certificate rotated", short: s, least: s, most: 10 * s,
				endsStreams: true, begin: rotate(local),
			},
			kind{
				name: "local etcd killed", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, begin: kill("local-etcd"),
			},
			kind{
				name: "local etcd full", short: 6 * s, least: 5 * s, most: m,
				endsStreams: true, begin: fill(local),
			},
			kind{
				name: "local webhook for pods down", short: 5 * s, least: 3 * m, most: 3 * m,
				endsStreams: true, begin: webhookDown(local, "", "pods", "pods/*"),
			},
			kind{
				name: "local webhook for everything down", short: 5 * s, least: 3 * m, most: 3 * m,
				endsStreams: true, begin: webhookDown(local, "*", "*/*"),
			},
		),
		at(inRemote,
			kind{
				name: "remote API server killed", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, begin: kill("remote-kube-apiserver"),
			},
			kind{
				name: "remote API server hangs", short: 8 * s, least: 5 * s, most: m,
				endsStreams: true, begin: hang("remote-kube-apiserver"),
			},
			kind{
				name: "remote API server's certificate rotated", short: s, least: s, most: 10 * s,
				endsStreams: true, begin: rotate(remote),
			},
			kind{name: "remote etcd killed", short: 3 * s, least: 2 * s, most: m, begin: kill("remote-etcd")},
			kind{name: "remote etcd full", short: 6 * s, least: 5 * s, most: m, begin: fill(remote)},
			careful(kind{name: "remote token revoked", short: 12 * s, least: 12 * s, most: m, begin: revokeToken}),
			kind{
				name: "remote webhook for pods down", short: 5 * s, least: 3 * m, most: 3 * m,
				begin: webhookDown(remote, "", "pods", "pods/*"),
			},
			kind{
				name: "remote webhook for everything down", short: 5 * s, least: 3 * m, most: 3 * m,
				begin: webhookDown(remote, "*", "*/*"),
			},
		),
		at(inNodes,
			kind{
				name: "kubelet killed", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, begin: killOnNode("kubelet"),
			},
			kind{
				name: "containerd killed, node rebooted", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, excuses: excuses{kills: true}, begin: killOnNode("containerd"),
			},
			careful(kind{
				name: "remote node drained", short: 3 * s, least: 2 * s, most: m,
				endsStreams: true, excuses: excuses{evicts: true}, begin: drain,
			}),
		),
		at(inLink,
			kind{name: "link cut", short: 5 * s, least: 2 * s, most: 2 * m, endsStreams: true, begin: damage(cut)},
			kind{
				name: "link half open", short: 5 * s, least: 2 * s, most: 2 * m,
				endsStreams: true, begin: damage(halfOpen),
			},
			kind{
				name: "link resets connections", short: 5 * s, least: 2 * s, most: m,
				endsStreams: true, begin: damage(reset),
			},
			kind{name: "link slow", short: 5 * s, least: 5 * s, most: 2 * m, begin: damage(slow)},
		),
	)
	var chosen []kind
	for _, k := range all {
		if long || k.short > 0 {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// Positions of an akd as the choice of a fault.
const (
	theLeader  = true
	theStandby = false
)

func killAKD(which ...bool) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		leader := f.leader(t)
		for i, akd := range f.akds {
			for _, leads := range which {
				if leads == (i == leader) {
					akd.Stop(t, syscall.SIGKILL)
				}
			}
		}
		return func() { f.startAll(t) }
	}
}

// pauseLeader suspends the leader while it believes that it leads.
func pauseLeader(t *testing.T, f *field) func() {
	t.Helper()
	leader := f.akds[f.leader(t)]
	leader.Signal(t, syscall.SIGSTOP)
	return func() { leader.Signal(t, syscall.SIGCONT) }
}

// shiftClock lets an akd lead whose clock is put forward or back while it runs. The
// step is less than an hour: no certificate of the clusters is older than that.
func shiftClock(t *testing.T, f *field) func() {
	t.Helper()
	leader := f.leader(t)
	shifted := f.akds[1-leader]
	step := between(f.choose, 5*time.Minute, 50*time.Minute)
	if f.choose.IntN(2) == 0 {
		step = -step
	}
	shifted.Stop(t, syscall.SIGTERM)
	shifted.StartAs(t, "env", clockShift+"="+step.String(), clockAfter+"=10s", f.shifted)
	f.WaitSynced(t, ports()[1-leader])
	f.akds[leader].Stop(t, syscall.SIGTERM)
	return func() {
		shifted.Stop(t, syscall.SIGTERM)
		f.startAll(t)
	}
}

func kill(component string) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		f.Kill(t, component)
		f.damaged = true
		return func() {}
	}
}

func killOnNode(program string) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		return kill(f.remoteNode()+"-"+program)(t, f)
	}
}

func hang(component string) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		return f.Freeze(t, component)
	}
}

func rotate(side side) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		f.RotateServingCertificate(t, string(side))
		return kill(string(side)+"-kube-apiserver")(t, f)
	}
}

func fill(side side) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		return f.FillEtcd(t, string(side))
	}
}

// drain evicts all pods of a remote node, as for an upgrade of it.
func drain(t *testing.T, f *field) func() {
	t.Helper()
	drained := f.remoteNode()
	out, stderr, err := f.TryKubectl("remote", nil, "drain", drained,
		"--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=1m")
	if err != nil {
		t.Logf("drain %s: %v\n%s%s", drained, err, out, stderr) // akd may be slow; what is evicted counts
	}
	return func() { f.Kubectl(t, "remote", "uncordon", drained) }
}

func cut(f *field) error { return f.CutLink() }

func halfOpen(f *field) error { return f.HalfOpenLink() }

func reset(f *field) error { return f.ResetLink() }

func slow(f *field) error {
	return f.SlowLink(time.Duration(100+f.choose.IntN(1900)) * time.Millisecond)
}

func damage(link func(*field) error) func(*testing.T, *field) func() {
	return func(t *testing.T, f *field) func() {
		t.Helper()
		if err := link(f); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := f.RestoreLink(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// revokeToken makes all tokens of the node's account worthless, and an administrator
// gives it another one later.
func revokeToken(t *testing.T, f *field) func() {
	t.Helper()
	accounts := f.Remote.CoreV1().ServiceAccounts(contract.SystemNamespace)
	account, err := accounts.Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := accounts.Delete(t.Context(), node, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	account.ObjectMeta = metav1.ObjectMeta{Name: account.Name, Labels: account.Labels, Annotations: account.Annotations}
	account.Secrets = nil
	if _, err := accounts.Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return func() { f.MustActual(t, "token", "rotate", node, "--remote-context=remote") }
}

// webhookDown makes an API server ask a webhook that nobody serves.
func webhookDown(side side, group string, resources ...string) func(*testing.T, *field) func() {
	const name = "faults-down.example.org"
	webhook := admissionregistrationv1.ValidatingWebhook{
		Name:                    name,
		ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://127.0.0.1:1/")},
		FailurePolicy:           new(admissionregistrationv1.Fail),
		SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
		TimeoutSeconds:          new(int32(5)),
		AdmissionReviewVersions: []string{"v1"},
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources},
		}},
	}
	return func(t *testing.T, f *field) func() {
		t.Helper()
		webhooks := f.client(side).AdmissionregistrationV1().ValidatingWebhookConfigurations()
		configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionregistrationv1.ValidatingWebhook{webhook},
		}
		if _, err := webhooks.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		return func() {
			err := within(t.Context(), patience, func(ctx context.Context) error {
				if err := webhooks.Delete(ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
					return err
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// remoteNode is one of the remote cluster's nodes.
func (f *field) remoteNode() string { return fmt.Sprint("remote-", 1+f.choose.IntN(remoteNodes)) }

// leader is which of the akds leads.
func (f *field) leader(t *testing.T) (leader int) {
	t.Helper()
	err := within(t.Context(), patience, func(ctx context.Context) error {
		var silent []string
		for i, port := range ports() {
			if leads, err := f.Leads(ctx, port); err == nil && leads {
				leader = i
				return nil
			}
			silent = append(silent, port)
		}
		return fmt.Errorf("no akd leads, by their metrics on ports %s", strings.Join(silent, ", "))
	})
	if err != nil {
		t.Fatal(err)
	}
	return leader
}

// startAll starts the akds that do not run.
func (f *field) startAll(t *testing.T) {
	t.Helper()
	for _, akd := range f.akds {
		if akd.Stopped() {
			akd.Start(t)
		}
	}
}
