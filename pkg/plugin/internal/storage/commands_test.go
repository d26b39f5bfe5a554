package storage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// getVolume returns the local volume, or nil.
func getVolume(t *testing.T, both kubeclient.Clusters) *corev1.PersistentVolume {
	t.Helper()
	pv, err := volumeNamed(t.Context(), both.Local, name)
	if err != nil {
		t.Fatal(err)
	}
	return pv
}

// getRemote returns the remote claim, or nil.
func getRemote(t *testing.T, both kubeclient.Clusters) *corev1.PersistentVolumeClaim {
	t.Helper()
	claim, err := both.Remote.Client.CoreV1().PersistentVolumeClaims(place()).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

// refuses expects an error with that text, and no write to either cluster.
func refuses(t *testing.T, reason string, err error, want string, both kubeclient.Clusters) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want an error with %q", reason, err, want)
	}
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		client, is := c.Client.(*fake.Clientset)
		if !is {
			t.Fatalf("the client is a %T", c.Client)
		}
		for _, action := range client.Actions() {
			if verb := action.GetVerb(); verb != "get" && verb != "list" {
				t.Errorf("%s: %s %s in the %s cluster", reason, verb, action.GetResource().Resource, c.Side)
			}
		}
	}
}

func at() remoteName { return remoteName{place(), name} }

const claimToApply = `apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  annotations:
    volume.kubernetes.io/storage-provisioner: actual.vk
  name: data
  namespace: shop
spec:
  accessModes:
  - ReadWriteOnce
  resources:
    requests:
      storage: 2Gi
  storageClassName: fast
  volumeMode: Filesystem
  volumeName: pvc-4f1c
`

// An orphan becomes a volume again: for a claim of the last one's name, without a UID, of
// the node's class for the remote one, and kept.
func TestImportOrphan(t *testing.T) {
	t.Parallel()
	fast := class("fast", "ssd", node)
	fast.ReclaimPolicy = new(corev1.PersistentVolumeReclaimRetain)
	both := clusters([]runtime.Object{class("other", "ssd", "vk-b"), class("slow", "hdd", node), class("default", "ssd", node), fast},
		[]runtime.Object{remoteClaim(corev1.ClaimBound, uncommitted)})
	client, is := both.Local.Client.(*fake.Clientset)
	if !is {
		t.Fatalf("the client is a %T", both.Local.Client)
	}
	client.PrependReactor("create", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if create, is := action.(clienttesting.CreateAction); is {
			if made, is := create.GetObject().(*corev1.PersistentVolume); is {
				made.UID = "made"
			}
		}
		return false, nil, nil
	})
	e, out, _ := env(t, "")
	if err := (&importOptions{env: e, from: at()}).do(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	want := volume.New(volume.Spec{
		Node:        node,
		Remote:      volume.Remote{Namespace: place(), Claim: name, UID: remoteUID, ClusterUID: there},
		Claim:       volume.Claim{Namespace: shop, Name: "data"},
		Class:       "fast",
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Capacity:    size("2Gi")[corev1.ResourceStorage],
		Reclaim:     corev1.PersistentVolumeReclaimRetain,
	})
	want.UID = "made"
	got := getVolume(t, both)
	got.TypeMeta, got.ManagedFields = metav1.TypeMeta{}, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	if mark := getRemote(t, both).Annotations[contract.AnnotationVolume]; mark != "made" {
		t.Errorf("the remote claim is committed to %q", mark)
	}
	if diff := cmp.Diff(claimToApply, out.String()); diff != "" {
		t.Errorf("claim to apply (-want +got):\n%s", diff)
	}
}

// A kept volume becomes available to a claim of another name.
func TestImportKept(t *testing.T) {
	t.Parallel()
	both := clusters([]runtime.Object{pv(corev1.VolumeReleased)}, []runtime.Object{remoteClaim(corev1.ClaimBound)})
	e, out, _ := env(t, "")
	if err := (&importOptions{env: e, from: at(), claim: "old"}).do(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	if ref := getVolume(t, both).Spec.ClaimRef; ref.Namespace != shop || ref.Name != "old" || ref.UID != "" {
		t.Errorf("the volume is for %v", ref)
	}
	if name := getRemote(t, both).Annotations[contract.AnnotationClaim]; name != "old" {
		t.Errorf("the remote claim is for %q", name)
	}
	if !strings.Contains(out.String(), "name: old\n") {
		t.Errorf("printed %s", out)
	}
}

// Kubernetes binds a claim that was bound before only to a volume with its UID.
func TestImportForLostClaim(t *testing.T) {
	t.Parallel()
	both := clusters([]runtime.Object{localClaim(claimUID, name)}, []runtime.Object{remoteClaim(corev1.ClaimBound)})
	e, out, _ := env(t, "")
	if err := (&importOptions{env: e, from: at()}).do(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	if ref := getVolume(t, both).Spec.ClaimRef; ref.UID != claimUID {
		t.Errorf("the volume is for %v", ref)
	}
	if out.Len() > 0 {
		t.Errorf("the claim is there, and was printed: %s", out)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	type objects = []runtime.Object
	there := objects{remoteClaim(corev1.ClaimBound)}
	cases := map[string]struct {
		reason        string
		local, remote objects
		want          string
	}{
		"Missing": {reason: "no such remote claim", want: "there is no remote claim"},
		"Ending":  {reason: "it goes", remote: objects{remoteClaim(corev1.ClaimBound, terminating)}, want: "is being deleted"},
		"Lost":    {reason: "its data is gone", remote: objects{remoteClaim(corev1.ClaimLost)}, want: "has lost its volume"},
		"Bound": {
			reason: "a claim uses it",
			local:  objects{pv(corev1.VolumeBound)},
			remote: there,
			want:   "is bound to the local claim shop/data",
		},
		"By delete": {
			reason: "akd deletes it",
			local:  objects{pv(corev1.VolumeReleased, policyDelete)},
			remote: there,
			want:   "its policy is Delete",
		},
		"To bind": {
			reason: "Kubernetes binds it just now",
			local:  objects{pv(corev1.VolumePending)},
			remote: there,
			want:   "is about to be bound",
		},
		"Restored": {
			reason: "only a person knows whether it has the data",
			local:  objects{pv(corev1.VolumeReleased)},
			remote: objects{remoteClaim(corev1.ClaimBound, restored)},
			want:   "is for a remote claim with UID r0",
		},
		"Other volume": {
			reason: "a volume of that name is another's",
			local:  objects{&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}},
			remote: there,
			want:   "its data is elsewhere",
		},
		"Name taken": {
			reason: "the claim has other data",
			local:  objects{localClaim("other", "pvc-other")},
			remote: there,
			want:   "the local claim shop/data exists",
		},
		"Foreign": {
			reason: "it belongs to another cluster",
			remote: objects{remoteClaim(corev1.ClaimBound, func(c *corev1.PersistentVolumeClaim) { c.Labels[contract.LabelClusterUID] = "other" })},
			want:   "akd did not make the remote claim",
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			both := clusters(tc.local, tc.remote)
			e, _, _ := env(t, "")
			err := (&importOptions{env: e, from: at()}).do(t.Context(), both)
			refuses(t, tc.reason, err, tc.want, both)
		})
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	both := clusters([]runtime.Object{pv(corev1.VolumeBound)}, []runtime.Object{remoteClaim(corev1.ClaimBound, restored, uncommitted)})
	e, out, _ := env(t, "")
	if err := adopt(t.Context(), e.Out(), both, name); err != nil {
		t.Fatal(err)
	}
	if uid := volume.Adopted(getVolume(t, both)); uid != "r1" {
		t.Errorf("the volume is for UID %s", uid)
	}
	if mark := getRemote(t, both).Annotations[contract.AnnotationVolume]; mark != "pv" {
		t.Errorf("the remote claim is committed to %q", mark)
	}
	if !strings.Contains(out.String(), "with UID r1, of 2Gi") || !strings.Contains(out.String(), "before, it was UID r0") {
		t.Errorf("printed %s", out)
	}
	if err := adopt(t.Context(), e.Out(), both, name); err != nil || !strings.Contains(out.String(), "unchanged") {
		t.Errorf("again: %v, %s", err, out)
	}
}

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	type objects = []runtime.Object
	elsewhere := pv(corev1.VolumeBound)
	elsewhere.Spec.CSI.VolumeAttributes[contract.AttributeRemoteClusterUID] = "elsewhere"
	disk := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	unlabelled := objects{remoteClaim(corev1.ClaimBound, restored, func(c *corev1.PersistentVolumeClaim) { c.Labels = nil })}
	cases := map[string]struct {
		reason        string
		local, remote objects
		want          string
	}{
		"No volume":     {reason: "there is nothing to adopt for", want: "there is no local PersistentVolume"},
		"Local disk":    {reason: "its data is no remote claim", local: objects{disk}, want: "storage of the local cluster"},
		"Elsewhere":     {reason: "the wrong context", local: objects{elsewhere}, want: "is in another remote cluster"},
		"Not restored":  {reason: "nothing is there", local: objects{pv(corev1.VolumeBound)}, want: "there is no remote claim"},
		"Without proof": {reason: "it is another's", local: objects{pv(corev1.VolumeBound)}, remote: unlabelled, want: "akd did not make"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			both := clusters(tc.local, tc.remote)
			e, _, _ := env(t, "")
			refuses(t, tc.reason, adopt(t.Context(), e.Out(), both, name), tc.want, both)
		})
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	type objects = []runtime.Object
	cases := map[string]struct {
		reason        string
		local, remote objects
		yes           bool
	}{
		"Kept":   {reason: "after a question", local: objects{pv(corev1.VolumeReleased)}, remote: objects{remoteClaim(corev1.ClaimBound)}},
		"Orphan": {reason: "there is no PersistentVolume", remote: objects{remoteClaim(corev1.ClaimBound)}, yes: true},
		"Imported": {
			reason: "no claim uses it",
			local:  objects{pv(corev1.VolumeAvailable)},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			yes:    true,
		},
		"Gone": {reason: "an earlier run was interrupted", local: objects{pv(corev1.VolumeReleased)}, yes: true},
		"Ended pod": {
			reason: "it does not use the data any more",
			remote: objects{remoteClaim(corev1.ClaimBound), remotePod("done", "remote-1", corev1.PodFailed)},
			yes:    true,
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			both := clusters(tc.local, tc.remote)
			e, out, errOut := env(t, "y\n")
			if err := (&deleteOptions{env: e, at: at(), yes: tc.yes, timeout: time.Minute}).do(t.Context(), both); err != nil {
				t.Fatal(err)
			}
			if pv, claim := getVolume(t, both), getRemote(t, both); pv != nil || claim != nil {
				t.Errorf("%s: left %v and %v", tc.reason, pv, claim)
			}
			if asked := strings.Contains(errOut.String(), "(y/N)"); asked == tc.yes || out.Len() == 0 {
				t.Errorf("%s: printed %q and %q", tc.reason, out, errOut)
			}
		})
	}
}

// A deletion is for one UID: a claim that was made meanwhile stays.
func TestDeleteHasPreconditions(t *testing.T) {
	t.Parallel()
	both := clusters([]runtime.Object{pv(corev1.VolumeReleased)}, []runtime.Object{remoteClaim(corev1.ClaimBound)})
	e, _, _ := env(t, "")
	if err := (&deleteOptions{env: e, at: at(), yes: true, timeout: time.Minute}).do(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	for c, want := range map[*kubeclient.Cluster]string{both.Local: "pv", both.Remote: remoteUID} {
		client, is := c.Client.(*fake.Clientset)
		if !is {
			t.Fatalf("the client is a %T", c.Client)
		}
		deletions := 0
		for _, action := range client.Actions() {
			deletion, is := action.(clienttesting.DeleteActionImpl)
			if !is {
				continue
			}
			deletions++
			if given := deletion.DeleteOptions.Preconditions; given == nil || given.UID == nil || string(*given.UID) != want {
				t.Errorf("%s cluster: preconditions %v, want UID %s", c.Side, given, want)
			}
		}
		if deletions != 1 {
			t.Errorf("%s cluster: %d deletions", c.Side, deletions)
		}
	}
}

func TestDeleteRefuses(t *testing.T) {
	t.Parallel()
	type objects = []runtime.Object
	kept, there := objects{pv(corev1.VolumeReleased)}, objects{remoteClaim(corev1.ClaimBound)}
	cases := map[string]struct {
		reason        string
		local, remote objects
		answer        string
		want          string
	}{
		"No":      {reason: "the user did not agree", local: kept, remote: there, answer: "n\n", want: "nothing was deleted"},
		"Silence": {reason: "nobody answers in a script", local: kept, remote: there, want: "nothing was deleted"},
		"Missing": {reason: "there is nothing", want: "there is no remote claim"},
		"Bound": {
			reason: "a claim uses it",
			local:  objects{pv(corev1.VolumeBound), localClaim(claimUID, name)},
			remote: there,
			answer: "y\n",
			want:   "the local claim shop/data uses",
		},
		"Bound to the unseen": {
			reason: "the volume says so",
			local:  objects{pv(corev1.VolumeBound)},
			remote: there,
			answer: "y\n",
			want:   "is bound to the local claim shop/data",
		},
		"Lost claim": {
			reason: "its PersistentVolume was deleted, and can be imported",
			local:  objects{localClaim(claimUID, name)},
			remote: there,
			answer: "y\n",
			want:   "the local claim shop/data uses",
		},
		"Provisioned": {
			reason: "akd goes on with it",
			local:  objects{localClaim(claimUID, "")},
			remote: objects{remoteClaim(corev1.ClaimPending, uncommitted)},
			answer: "y\n",
			want:   "the local claim shop/data uses",
		},
		"Running": {
			reason: "a pod writes",
			local:  kept,
			remote: objects{remoteClaim(corev1.ClaimBound), remotePod("web-0", "remote-1", corev1.PodRunning)},
			answer: "y\n",
			want:   "remote pods use the remote claim " + contract.VolumeHandle(place(), name) + ": web-0",
		},
		"Restored": {
			reason: "the volume is for another claim of that name",
			local:  kept,
			remote: objects{remoteClaim(corev1.ClaimBound, restored)},
			answer: "y\n",
			want:   "is for a remote claim with UID r0",
		},
		"Foreign": {
			reason: "a claim of the remote administrator",
			remote: objects{remoteClaim(corev1.ClaimBound, func(c *corev1.PersistentVolumeClaim) { c.Labels = nil })},
			answer: "y\n",
			want:   "akd did not make the remote claim",
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			both := clusters(tc.local, tc.remote)
			e, _, _ := env(t, tc.answer)
			err := (&deleteOptions{env: e, at: at(), timeout: time.Minute}).do(t.Context(), both)
			refuses(t, tc.reason, err, tc.want, both)
		})
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	if got, err := parseName("command", []string{"vk-1/pvc-2"}); err != nil || got != (remoteName{"vk-1", "pvc-2"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, args := range [][]string{nil, {"a/b", "c/d"}, {"pvc-2"}, {"/pvc"}, {"vk/"}, {"a/b/c"}, {"A/b"}} {
		if _, err := parseName("command", args); !failure.IsUsage(err) {
			t.Errorf("%q: got %v, want a mistake in the command line", args, err)
		}
	}
}
