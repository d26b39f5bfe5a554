package storage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// What becomes of a volume, with and without the remote cluster: without it, akd's word is
// all there is.
func TestListStates(t *testing.T) {
	t.Parallel()
	type objects = []runtime.Object
	bound := localClaim(claimUID, name, told(corev1.ConditionTrue, "Bound"))
	cases := map[string]struct {
		reason        string
		local, remote objects
		alone, both   State // empty: no volume is listed
	}{
		"Bound": {
			reason: "all is well",
			local:  objects{pv(corev1.VolumeBound), bound},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			alone:  Bound, both: Bound,
		},
		"Late binding": {
			reason: "the remote disk comes with the first pod",
			local:  objects{pv(corev1.VolumeBound), localClaim(claimUID, name, told(corev1.ConditionFalse, "WaitForFirstConsumer"))},
			remote: objects{remoteClaim(corev1.ClaimPending)},
			alone:  Waiting, both: Waiting,
		},
		"Not told yet": {
			reason: "akd has not mirrored the remote claim",
			local:  objects{pv(corev1.VolumeBound), localClaim(claimUID, name)},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			alone:  Waiting, both: Bound,
		},
		"Imported without a word": {
			reason: "akd may not write the status of a claim that it did not provision",
			local: objects{pv(corev1.VolumeBound), func() runtime.Object {
				claim := localClaim(claimUID, name)
				claim.Annotations = nil
				return claim
			}()},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			alone:  Bound, both: Bound,
		},
		"Without PersistentVolume": {
			reason: "akd provisions it",
			local:  objects{localClaim(claimUID, "")},
			remote: objects{remoteClaim(corev1.ClaimPending, uncommitted)},
			alone:  Waiting, both: Waiting,
		},
		"Kept": {
			reason: "the claim is gone, and another one of its name is none of its",
			local:  objects{pv(corev1.VolumeReleased), localClaim("other", "pvc-other")},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			alone:  Kept, both: Kept,
		},
		"Deleting": {
			reason: "the remote claim is to go, and not lost",
			local:  objects{pv(corev1.VolumeReleased, policyDelete)},
			alone:  Deleting, both: Deleting,
		},
		"Available": {
			reason: "imported",
			local:  objects{pv(corev1.VolumeAvailable, func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "" })},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			alone:  Available, both: Available,
		},
		"Lost": {
			reason: "akd has noticed",
			local:  objects{pv(corev1.VolumeBound), localClaim(claimUID, name, told(corev1.ConditionFalse, reasonLost))},
			alone:  Lost, both: Lost,
		},
		"Lost unnoticed": {
			reason: "only the remote cluster tells",
			local:  objects{pv(corev1.VolumeReleased)},
			alone:  Kept, both: Lost,
		},
		"Another remote claim": {
			reason: "its data is another's",
			local:  objects{pv(corev1.VolumeBound), bound},
			remote: objects{remoteClaim(corev1.ClaimBound, restored)},
			alone:  Bound, both: Lost,
		},
		"Adopted": {
			reason: "a person said that it has the data; akd has not told yet",
			local: objects{
				pv(corev1.VolumeBound, func(pv *corev1.PersistentVolume) { pv.Annotations[contract.AnnotationAdoptedUID] = "r1" }),
				localClaim(claimUID, name, told(corev1.ConditionFalse, reasonLost)),
			},
			remote: objects{remoteClaim(corev1.ClaimBound, restored)},
			alone:  Lost, both: Bound,
		},
		"Lost remotely": {
			reason: "the remote volume is gone",
			local:  objects{pv(corev1.VolumeBound), bound},
			remote: objects{remoteClaim(corev1.ClaimLost)},
			alone:  Bound, both: Lost,
		},
		"Ending": {
			reason: "its data is still there",
			local:  objects{pv(corev1.VolumeBound), bound},
			remote: objects{remoteClaim(corev1.ClaimBound, terminating)},
			alone:  Bound, both: Bound,
		},
		"Without labels": {
			reason: "somebody took them off the remote claim: it is asked for by name",
			local:  objects{pv(corev1.VolumeBound), bound},
			remote: objects{remoteClaim(corev1.ClaimBound, func(c *corev1.PersistentVolumeClaim) { c.Labels = nil })},
			alone:  Bound, both: Bound,
		},
		"Orphan": {
			reason: "its PersistentVolume was deleted",
			remote: objects{remoteClaim(corev1.ClaimBound)},
			both:   Orphan,
		},
		"No orphan": {
			reason: "somebody took the label off the PersistentVolume",
			local:  objects{pv(corev1.VolumeBound, func(pv *corev1.PersistentVolume) { pv.Labels = nil }), bound},
			remote: objects{remoteClaim(corev1.ClaimBound)},
			both:   Bound,
		},
		"Foreign": {
			reason: "a claim of the remote administrator is none of ours",
			remote: objects{remoteClaim(corev1.ClaimBound, func(c *corev1.PersistentVolumeClaim) { c.Labels[contract.LabelUID] = "other" })},
		},
		"Unused": {
			reason: "no pod has used it",
			remote: objects{remoteClaim(corev1.ClaimPending, uncommitted)},
			both:   Waiting,
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			both := clusters(tc.local, tc.remote)
			for _, named := range []struct {
				remote bool
				want   State
			}{{false, tc.alone}, {true, tc.both}} {
				asked := both
				if !named.remote {
					asked = localOnly(both)
				}
				volumes, err := List(t.Context(), asked, node)
				if err != nil {
					t.Fatal(err)
				}
				var states []State
				for i := range volumes {
					states = append(states, volumes[i].State)
				}
				var want []State
				if named.want != "" {
					want = []State{named.want}
				}
				if diff := cmp.Diff(want, states); diff != "" {
					t.Errorf("%s: with the remote cluster %t (-want +got):\n%s", tc.reason, named.remote, diff)
				}
			}
		})
	}
}

// A wrong --remote-context must not make every volume look lost.
func TestListOtherRemoteCluster(t *testing.T) {
	t.Parallel()
	both := clusters([]runtime.Object{pv(corev1.VolumeBound), localClaim(claimUID, name, told(corev1.ConditionTrue, "Bound"))}, nil)
	both.Remote.UID = "elsewhere"
	volumes, err := List(t.Context(), both, "")
	if err != nil || len(volumes) != 1 {
		t.Fatal(volumes, err)
	}
	if v := volumes[0]; v.State != Bound || v.Reason != reasonElsewhere || v.RemotePhase != "" {
		t.Errorf("got %+v", v)
	}
}

func TestOfClaim(t *testing.T) {
	t.Parallel()
	claim := localClaim(claimUID, name, told(corev1.ConditionTrue, "Bound"))
	both := clusters([]runtime.Object{pv(corev1.VolumeBound), claim}, []runtime.Object{
		remoteClaim(corev1.ClaimBound), remotePod("web-0", "remote-1", corev1.PodRunning), remotePod("done", "remote-2", corev1.PodSucceeded),
	})
	want := Volume{
		Namespace:       shop,
		Claim:           "data",
		Node:            node,
		Actual:          true,
		State:           Bound,
		Volume:          name,
		VolumePhase:     "Bound",
		Class:           "standard",
		Capacity:        "1Gi",
		RemoteNamespace: place(),
		RemoteClaim:     name,
		RemoteUID:       remoteUID,
	}
	got, err := OfClaim(t.Context(), localOnly(both), claim)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("from the local cluster alone (-want +got):\n%s", diff)
	}
	want.RemotePhase, want.RemoteVolume, want.RemoteClass = "Bound", "remote-volume", "ssd"
	want.RemotePods = []RemotePod{{Name: "web-0", Node: "remote-1"}}
	if got, err = OfClaim(t.Context(), both, claim); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with the remote cluster (-want +got):\n%s", diff)
	}
	reversed, found, err := OfRemote(t.Context(), both, contract.VolumeHandle(place(), name))
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if diff := cmp.Diff(want, reversed); diff != "" {
		t.Errorf("from there to here (-want +got):\n%s", diff)
	}
}

func TestOfOtherClaims(t *testing.T) {
	t.Parallel()
	unprovisioned := localClaim(claimUID, "")
	unprovisioned.Annotations = nil
	foreign := localClaim(claimUID, "disk")
	foreign.Annotations = nil
	disk := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "disk"}}
	cases := map[string]struct {
		reason string
		claim  *corev1.PersistentVolumeClaim
		local  []runtime.Object
		want   Volume
	}{
		"No pod yet": {
			reason: "its class tells that it is AK's, and nothing tells the node",
			claim:  unprovisioned,
			local:  []runtime.Object{class("standard", "ssd", node)},
			want: Volume{
				Namespace: shop, Claim: "data", Actual: true, State: Waiting, Reason: reasonNoVolume, Class: "standard", Capacity: "1Gi",
				Message: "no pod has used the claim yet, or akd has not provisioned it",
			},
		},
		"Pending elsewhere": {reason: "its class is another's", claim: unprovisioned, want: Volume{Namespace: shop, Claim: "data"}},
		"Local disk": {
			reason: "storage of the local cluster",
			claim:  foreign,
			local:  []runtime.Object{disk},
			want:   Volume{Namespace: shop, Claim: "data"},
		},
		"Volume gone": {
			reason: "somebody deleted the PersistentVolume: the data may be there",
			claim:  localClaim(claimUID, name),
			want: Volume{
				Namespace: shop, Claim: "data", Node: node, Actual: true, State: Lost, Reason: "PersistentVolumeGone", Volume: name,
				Message: "the PersistentVolume is gone; its remote claim may be there",
				Class:   "standard", Capacity: "0", RemoteNamespace: place(), RemoteClaim: name,
			},
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			got, err := OfClaim(t.Context(), clusters(tc.local, nil), tc.claim)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A cell is where its head is.
func TestTables(t *testing.T) {
	t.Parallel()
	v := Volume{
		Namespace:       shop,
		Claim:           "data",
		Actual:          true,
		State:           Bound,
		Reason:          "reason",
		RemoteNamespace: "there",
		RemoteClaim:     "pvc",
		RemoteUID:       "uid",
		RemotePods:      []RemotePod{{"a", "remote-1"}, {"b", "remote-1"}, {"c", ""}},
	}
	for _, withRemote := range []bool{false, true} {
		list := LocationList([]Volume{v}, withRemote)
		cell := map[string]string{}
		for i, head := range list.Head {
			cell[head] = list.Rows[0][i]
		}
		users := cell["REMOTE PODS"] + " on " + cell["REMOTE NODES"]
		if cell["REASON"] != "reason" || cell["REMOTE UID"] != "uid" || withRemote && users != "a,b,c on remote-1" {
			t.Errorf("with the remote cluster %t: %v", withRemote, cell)
		}
	}
	list := volumeList([]Volume{v})
	if len(list.Head) != len(list.Rows[0]) || list.Rows[0][6] != "there/pvc" || list.Names[0] != "there/pvc" {
		t.Errorf("got %v", list.Rows)
	}
}
