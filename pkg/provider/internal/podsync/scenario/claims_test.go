package scenario

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// TestControllers plays what Kubernetes' own controllers do with claims, beside an akd that
// leaves claims alone. The provisioner of AK's classes is the test itself.
func TestControllers(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   []string // in both clusters, but for pods and what akd makes for them
	}{
		"ImmediateRemote": {
			"remote claim theirs size=5Gi; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Bound 8Gi of 5Gi class=disk volume=disk-remote-claim-1",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-1 Bound 8Gi Delete claim=ak-default/theirs(remote-claim-1)",
			},
		},
		"LateRemote": {
			"remote claim theirs class=late; wait 1s",
			[]string{"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Pending 0 of 1Gi class=late"},
		},
		"LateRemoteUsed": {
			"remote claim theirs class=late; remote create a claim=theirs; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Bound 4Gi of 1Gi class=late volume=disk-remote-claim-1",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-1 Bound 4Gi Delete claim=ak-default/theirs(remote-claim-1)",
			},
		},
		"DeletedRemote": {"remote claim theirs; wait 1s; remote delete claim theirs; wait 1s", nil},
		"UsedWhileDeleted": {
			"remote claim theirs; remote create a claim=theirs; wait 1s; remote delete claim theirs; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Bound 4Gi of 1Gi class=disk volume=disk-remote-claim-1 terminating",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-1 Bound 4Gi Delete claim=ak-default/theirs(remote-claim-1)",
			},
		},
		"GrownRemote": {
			"remote claim theirs; remote create a claim=theirs; wait 1s; remote grow theirs 5Gi; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Bound 4Gi of 5Gi class=disk volume=disk-remote-claim-1" +
					" FileSystemResizePending=True",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-1 Bound 8Gi Delete claim=ak-default/theirs(remote-claim-1)",
			},
		},
		"NotGrownRemote": {
			"remote claim theirs; wait 1s; remote provisioner fails; remote grow theirs 5Gi; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Bound 4Gi of 5Gi class=disk volume=disk-remote-claim-1" +
					" ControllerResizeError=True",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-1 Bound 4Gi Delete claim=ak-default/theirs(remote-claim-1)",
			},
		},
		"TooLargeRemote": {
			"remote claim theirs; wait 1s; remote grow theirs 13Gi; wait 1s; remote grow theirs 5Gi; remote create a claim=theirs; wait 1s; " +
				"remote kubelet a 0; remote claim huge size=13Gi; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/huge uid=remote-claim-2 Pending 0 of 13Gi class=disk",
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Bound 4Gi of 5Gi class=disk volume=disk-remote-claim-1" +
					" FileSystemResizePending=True",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-1 Bound 8Gi Delete claim=ak-default/theirs(remote-claim-1)",
			},
		},
		"CloneRemote": {
			"remote claim copy from=theirs; wait 1s; remote claim theirs; wait 1s; remote claim other from=none; wait 1s",
			[]string{
				"remote persistentvolumeclaim ak-default/copy uid=remote-claim-1 Bound 4Gi of 1Gi class=disk volume=disk-remote-claim-1",
				"remote persistentvolumeclaim ak-default/other uid=remote-claim-3 Pending 0 of 1Gi class=disk",
				"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-2 Bound 4Gi of 1Gi class=disk volume=disk-remote-claim-2",
				"remote persistentvolume disk-remote-claim-1 uid=remote-volume-2 Bound 4Gi Delete claim=ak-default/copy(remote-claim-1)",
				"remote persistentvolume disk-remote-claim-2 uid=remote-volume-1 Bound 4Gi Delete claim=ak-default/theirs(remote-claim-2)",
			},
		},
		"Elsewhere": {
			"local claim data class=both; local create a claim=data elsewhere; wait 1s; local delete a; local delete claim data; wait 1s", nil,
		},
		"Anywhere": {
			"local claim data class=anywhere; local create a claim=data; wait 1s",
			[]string{"local persistentvolumeclaim default/data uid=local-claim-1 Pending 0 of 1Gi class=anywhere"},
		},
		"Halted": {
			"remote controllers stop; remote claim theirs; wait 1h",
			[]string{"remote persistentvolumeclaim ak-default/theirs uid=remote-claim-1 Pending 0 of 1Gi class=disk"},
		},
		"LateLocal": {
			"local claim data; wait 1s",
			[]string{"local persistentvolumeclaim default/data uid=local-claim-1 Pending 0 of 1Gi class=standard"},
		},
		"ForeignLocal": {
			"local claim data class=foreign; local create a claim=data; wait 1s",
			[]string{
				"local persistentvolumeclaim default/data uid=local-claim-1 Bound 4Gi of 1Gi class=foreign volume=disk-local-claim-1",
				"local persistentvolume disk-local-claim-1 uid=local-volume-1 Bound 4Gi Delete claim=default/data(local-claim-1)",
			},
		},
		"EphemeralLocal": {
			"local create a ephemeral=foreign; wait 1s; local delete a 0; wait 1s", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t, &txtar.Archive{})
				s.start()
				for line := range strings.SplitSeq("storage none; "+test.script, "; ") {
					if err := s.do(strings.Fields(line)); err != nil {
						t.Fatalf("%s: %v", line, err)
					}
				}
				s.akd.end()
				for _, line := range append(s.local.lines(), s.remote.lines()...) {
					if kind := strings.Fields(line)[1]; kind == "persistentvolumeclaim" || kind == "persistentvolume" {
						got = append(got, strings.ReplaceAll(line, contract.RemoteNamespace(Node, metav1.NamespaceDefault), "ak-default"))
					}
				}
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBinding: the local cluster binds a claim to the volume that its provisioner makes, runs
// the pod then, and releases the volume when the claim is gone.
func TestBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, &txtar.Archive{})
		s.makeClasses()
		do := func(line string) {
			if err := s.do(strings.Fields(line)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			s.local.storage.speak(true)
		}
		claim := func() *corev1.PersistentVolumeClaim { return s.local.claimNamed(metav1.NamespaceDefault, "data") }
		do("local claim data")
		do("local create a claim=data")
		do("wait 1s")
		uid := claim().UID
		if claim().Annotations[selectedNode] != Node || claim().Annotations[provisioner] != contract.StorageDriver {
			t.Fatalf("no volume was asked for: %v", claim().Annotations)
		}
		_ = s.local.add(volume.New(volume.Spec{
			Node: Node, Remote: volume.Remote{Namespace: "ak-default", Claim: contract.VolumeName(uid), UID: "remote"},
			Claim: volume.Claim{Namespace: metav1.NamespaceDefault, Name: "data", UID: uid}, Class: "standard",
			Capacity: sizeOf(&claim().Spec), Reclaim: corev1.PersistentVolumeReclaimDelete,
		}))
		do("wait 1s")
		pod, err := s.local.podNamed(metav1.NamespaceDefault, "a")
		if err != nil || pod.Spec.NodeName != Node || claim().Status.Phase != corev1.ClaimBound {
			t.Fatalf("the pod is on node %q, its claim %s: %v", pod.Spec.NodeName, claim().Status.Phase, err)
		}
		do("local delete claim data")
		do("wait 1s")
		if claim() == nil || !slices.Contains(claim().Finalizers, claimProtection) {
			t.Fatal("the claim of a pod is gone")
		}
		do("local delete a 0")
		do("wait 1s")
		made := s.local.volumeNamed(contract.VolumeName(uid))
		if claim() != nil || made == nil || made.Status.Phase != corev1.VolumeReleased {
			t.Fatalf("the claim is not gone, or its volume not released: %v, %v", claim(), made)
		}
		do("local delete volume data")
		do("wait 1s")
		if made = s.local.volumeNamed(made.Name); made == nil || !cmp.Equal(made.Finalizers, []string{contract.FinalizerRemoteClaim}) {
			t.Fatalf("akd's finalizer does not hold the volume: %v", made)
		}
	})
}

// TestGrowth: the local API server admits what Kubernetes' own does.
func TestGrowth(t *testing.T) {
	s := newScenario(t, &txtar.Archive{})
	s.local.controllers.halt(true)
	s.makeClasses()
	bound := newClaim(metav1.NamespaceDefault, "data", []string{"size=2Gi"})
	if err := s.local.add(bound); err != nil {
		t.Fatal(err)
	}
	grow := func(size string) error { return s.do(strings.Fields("local grow data " + size)) }
	if grow("3Gi") == nil {
		t.Error("a claim grew that is not bound")
	}
	bound = s.local.claimNamed(metav1.NamespaceDefault, "data")
	bound.Status.Phase, bound.Status.Capacity = corev1.ClaimBound, newClaim("", "", []string{"size=2Gi"}).Spec.Resources.Requests
	s.local.putClaim(bound)
	for _, step := range []struct {
		size     string
		admitted bool
	}{{"1Gi", false}, {"2Gi", true}, {"5Gi", true}, {"2049Mi", true}, {"2Gi", false}} {
		if err := grow(step.size); (err == nil) != step.admitted {
			t.Errorf("%s: %v", step.size, err)
		}
	}
	class := s.local.classNamed(new("standard"))
	class.AllowVolumeExpansion = new(false)
	_ = s.local.storage.Update(resourceOf(classes), class, "")
	if grow("9Gi") == nil {
		t.Error("a claim grew whose class does not allow that")
	}
}
