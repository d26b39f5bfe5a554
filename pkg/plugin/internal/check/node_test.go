package check

import (
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// now is what the clock of the tests says.
func now() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

// subject returns two clusters with those objects, and node vk, whose akd runs in
// the local one.
func subject(local, remote []runtime.Object, conditions ...corev1.NodeCondition) *Subject {
	s := &Subject{
		Clusters: kubeclient.Clusters{
			Local:  &kubeclient.Cluster{Side: kubeclient.Local, UID: "here", Client: fake.NewClientset(local...)},
			Remote: &kubeclient.Cluster{Side: kubeclient.Remote, UID: "there", Client: fake.NewClientset(remote...)},
		},
		Commands: commands(),
		Version:  "v1.2.3",
		Clock:    clocktesting.NewFakePassiveClock(now()),
	}
	s.Node = Node{
		Name:   "vk",
		Object: &corev1.Node{Status: corev1.NodeStatus{Conditions: conditions}},
		AKD:    &appsv1.Deployment{},
		Host:   s.Local,
		Peer:   s.Remote,
	}
	return s
}

// commands are those of a check with --remote-context=there.
func commands() kubeclient.Commands {
	return kubeclient.NewAccess(func(name string) string { return map[string]string{"ACTUAL_REMOTE_CONTEXT": "there"}[name] }).Commands()
}

func condition(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
	return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message}
}

// expect compares a finding: its level, a part of what was found, and its fix.
func expect(t *testing.T, reason string, got Finding, level Level, found, fix string) {
	t.Helper()
	if got.Level != level || !strings.Contains(got.Found, found) || got.Fix != fix {
		t.Errorf("%s: want %s, %q and fix %q, got %+v", reason, level, found, fix, got)
	}
}

func TestAKDRuns(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason      string
		want, ready int32
		level       Level
		found, fix  string
	}{
		"All": {
			reason: "as wanted",
			want:   2,
			ready:  2,
			level:  LevelOK,
			found:  "2 of 2",
		},
		"Some": {
			reason: "one is enough to work",
			want:   2,
			ready:  1,
			level:  LevelWarning,
			found:  "1 of 2",
			fix:    "kubectl actual logs vk",
		},
		"None": {
			reason: "nothing serves the node",
			want:   1,
			level:  LevelFailed,
			found:  "akd has no pod",
			fix:    "kubectl actual logs vk",
		},
		"Zero": {
			reason: "somebody wants none", level: LevelFailed, found: "scaled to 0",
			fix: "kubectl scale deployment vk -n actual-system --replicas=1",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, nil)
			s.Node.AKD.Spec.Replicas, s.Node.AKD.Status.ReadyReplicas = &tc.want, tc.ready
			expect(t, tc.reason, akdRuns(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func TestAKDVersion(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --remote-context=there"
	cases := map[string]struct {
		reason, image string
		level         Level
		found, fix    string
	}{
		"Same":   {reason: "the tag is the version", image: "example.com/akd:v1.2.3", level: LevelOK, found: "v1.2.3"},
		"Digest": {reason: "a digest may follow", image: "example.com/akd:v1.2.3@sha256:0", level: LevelOK, found: "v1.2.3"},
		"Older": {
			reason: "install updates it",
			image:  "example.com/akd:v1.2.2",
			level:  LevelWarning,
			found:  "akd:v1.2.2",
			fix:    install,
		},
		"Untagged": {
			reason: "nobody knows what that is",
			image:  "example.com/akd",
			level:  LevelWarning,
			found:  "example.com/akd",
			fix:    install,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, nil)
			s.Node.AKD.Spec.Template.Spec.Containers = []corev1.Container{{Image: tc.image}}
			expect(t, tc.reason, akdVersion(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func TestNodeReady(t *testing.T) {
	t.Parallel()
	const logs = "kubectl actual logs vk"
	ready := condition(corev1.NodeReady, corev1.ConditionTrue, "RemoteReady", "all is well")
	cases := map[string]struct {
		reason     string
		change     func(*Subject)
		level      Level
		found, fix string
	}{
		"Ready": {reason: "as it should be", change: func(*Subject) {}, level: LevelOK, found: "all is well"},
		"Cordoned": {
			reason: "on purpose, perhaps",
			change: func(s *Subject) { s.Node.Object.Spec.Unschedulable = true },
			level:  LevelWarning,
			fix:    "kubectl uncordon vk",
		},
		"Not ready": {
			reason: "akd says why",
			change: func(s *Subject) { s.Node.Object.Status.Conditions[0].Status = corev1.ConditionFalse },
			level:  LevelFailed,
			found:  "RemoteReady: all is well",
			fix:    logs,
		},
		"Rejected": {
			reason: "akd waits for another credential",
			change: func(s *Subject) {
				s.Node.Object.Status.Conditions[0] = condition(corev1.NodeReady, corev1.ConditionFalse, contract.ReasonCredentialRejected, "no")
			},
			level: LevelFailed,
			found: "CredentialRejected: no",
			fix:   "kubectl actual token rotate vk --remote-context=there",
		},
		"Unregistered": {
			reason: "akd's log says why",
			change: func(s *Subject) { s.Node.Object = nil },
			level:  LevelFailed,
			found:  "vk is not registered",
			fix:    logs,
		},
		"Silent": {
			reason: "something else made the node",
			change: func(s *Subject) { s.Node.Object.Status.Conditions = nil },
			level:  LevelFailed,
			found:  "no condition Ready",
			fix:    logs,
		},
		"Remote akd": {
			reason: "its log is in the other cluster",
			change: func(s *Subject) { s.Node.Object, s.Node.Host = nil, s.Remote },
			level:  LevelFailed, fix: logs + " --remote-context=there",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, nil, ready)
			tc.change(s)
			expect(t, tc.reason, nodeReady(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func TestAKDReachesLocal(t *testing.T) {
	t.Parallel()
	const logs = "kubectl actual logs vk"
	cases := map[string]struct {
		reason     string
		renewed    *time.Duration
		level      Level
		found, fix string
	}{
		"Fresh": {reason: "as a kubelet does", renewed: new(10 * time.Second), level: LevelOK, found: "10s ago"},
		"Ahead": {reason: "akd's clock may be ahead", renewed: new(-10 * time.Second), level: LevelOK, found: "0s ago"},
		"Stale": {
			reason:  "the node is lost",
			renewed: new(time.Minute),
			level:   LevelFailed,
			found:   "1m0s ago",
			fix:     logs,
		},
		"Never": {reason: "akd has not started", level: LevelFailed, found: "never", fix: logs},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var local []runtime.Object
			if tc.renewed != nil {
				at := metav1.NewMicroTime(now().Add(-*tc.renewed))
				local = append(local, &coordinationv1.Lease{
					ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: "vk"},
					Spec:       coordinationv1.LeaseSpec{RenewTime: &at},
				})
			}
			expect(t, tc.reason, akdReachesLocal(t.Context(), subject(local, nil)), tc.level, tc.found, tc.fix)
		})
	}
}

func TestAKDReachesRemote(t *testing.T) {
	t.Parallel()
	const fix = "check that the remote API server can be reached from where akd runs: kubectl actual logs vk"
	cases := map[string]struct {
		reason     string
		conditions []corev1.NodeCondition
		level      Level
		found, fix string
	}{
		"Ready": {
			reason:     "without metrics, the condition counts",
			conditions: []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionTrue, "RemoteReady", "")},
			level:      LevelOK, found: "condition Ready",
		},
		"Unreachable": {
			reason:     "akd says so",
			conditions: []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionFalse, reasonRemoteUnreachable, "no answer for 56 s")},
			level:      LevelFailed,
			found:      "no answer for 56 s",
			fix:        fix,
		},
		"Rejected": {
			reason:     "it answers, and node-ready says the rest",
			conditions: []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionFalse, contract.ReasonCredentialRejected, "no")},
			level:      LevelOK,
			found:      "does not accept its credential",
		},
		"Lost": {
			reason:     "akd says nothing",
			conditions: []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown", "")},
			level:      LevelSkipped,
		},
		"Nothing": {reason: "no condition, no answer", level: LevelSkipped},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, tc.reason, akdReachesRemote(t.Context(), subject(nil, nil, tc.conditions...)), tc.level, tc.found, tc.fix)
		})
	}
}

// since is a request that was made at a time.
func since(request *certificatesv1.CertificateSigningRequest, made time.Time) *certificatesv1.CertificateSigningRequest {
	request = request.DeepCopy()
	request.CreationTimestamp = metav1.NewTime(made)
	return request
}

// An approver that no policy ties to its node is worse than none.
func TestCertificateApprover(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --approve-certificates --remote-context=there"
	const logs = "see why: kubectl logs deployment/vk.approver -n actual-system"
	meta := metav1.ObjectMeta{Name: "approver.vk.actual.vk"}
	tied := []runtime.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta},
	}
	cases := map[string]struct {
		reason     string
		approver   *appsv1.Deployment
		local      []runtime.Object
		level      Level
		found, fix string
	}{
		"None":  {reason: "nobody has asked for one", level: LevelSkipped, found: "without --approve-certificates"},
		"Works": {reason: "as it should be", approver: replicas(1), local: tied, level: LevelOK, found: "1 of 1"},
		"Untied": {
			reason: "the binding is gone", approver: replicas(1), local: tied[:1],
			level: LevelFailed, found: "every node's", fix: install,
		},
		"Down": {reason: "pods run", approver: replicas(0), local: tied, level: LevelWarning, found: "0 of 1", fix: logs},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(tc.local, nil)
			s.Node.Approver = tc.approver
			expect(t, tc.reason, certificateApprover(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func replicas(ready int32) *appsv1.Deployment {
	return &appsv1.Deployment{Status: appsv1.DeploymentStatus{ReadyReplicas: ready}}
}

func TestServingCertificate(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --remote-context=there"
	kind := contract.ConditionServingCertificateSigned
	request := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr-1"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Username:   "system:node:vk",
			SignerName: certificatesv1.KubeletServingSignerName,
		},
	}
	elsewhere := request.DeepCopy()
	elsewhere.Name, elsewhere.Spec.SignerName = "csr-2", "example.com/serving"
	cases := map[string]struct {
		reason     string
		conditions []corev1.NodeCondition
		signer     string
		approver   *appsv1.Deployment
		local      []runtime.Object
		level      Level
		found, fix string
	}{
		"Signed": {
			reason:     "as it should be",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionTrue, "", "valid")},
			level:      LevelOK,
			found:      "valid",
		},
		"Silent": {reason: "the certificate is from a file", level: LevelSkipped},
		"Unsigned": {
			reason:     "install approves the next request",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionFalse, "", "self-signed")},
			level:      LevelWarning,
			found:      "self-signed",
			fix:        install,
		},
		"Pending": {
			reason:     "the request is there",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionFalse, "", "self-signed")},
			local:      []runtime.Object{request},
			level:      LevelWarning,
			found:      "csr-1 is not approved",
			fix:        "approve it: " + install,
		},
		"Signer": {
			reason:     "akd requests from another signer: those of Kubernetes' own are an earlier akd's",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionFalse, "", "self-signed")},
			signer:     "example.com/serving",
			local:      []runtime.Object{request, elsewhere},
			level:      LevelWarning,
			found:      "csr-2 is not approved",
			fix:        "approve it: " + install,
		},
		"Left": {
			reason:     "the approver says why in its log, and install must not remove it",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionFalse, "", "self-signed")},
			approver:   &appsv1.Deployment{},
			local:      []runtime.Object{request},
			level:      LevelWarning,
			found:      "csr-1 is not approved",
			fix: "see why its approver leaves it: kubectl logs deployment/vk.approver -n actual-system\n" +
				"or let install judge it: kubectl actual install vk --approve-certificates --remote-context=there",
		},
		"Hangs": {
			reason:     "the next certificate is not signed, or it is not akd who asks",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionTrue, "", "valid")},
			local:      []runtime.Object{since(request, now().Add(-2*requestHangs))},
			level:      LevelWarning,
			found:      "csr-1 is not approved",
			fix:        "approve it: " + install,
		},
		"Fresh": {
			reason:     "somebody may be about to approve it",
			conditions: []corev1.NodeCondition{condition(kind, corev1.ConditionTrue, "", "valid")},
			local:      []runtime.Object{since(request, now().Add(-time.Second))},
			level:      LevelOK,
			found:      "valid",
		},
		"Gone": {
			reason: "an akd has asked that is gone",
			conditions: []corev1.NodeCondition{
				{Type: kind, Status: corev1.ConditionTrue, Message: "valid", LastTransitionTime: metav1.NewTime(now().Add(-requestHangs))},
			},
			local: []runtime.Object{since(request, now().Add(-2*requestHangs))},
			level: LevelOK,
			found: "valid",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(tc.local, nil, tc.conditions...)
			s.Node.Values.Signer, s.Node.Approver = tc.signer, tc.approver
			got := servingCertificate(t.Context(), s)
			expect(t, tc.reason, got, tc.level, tc.found, tc.fix)
		})
	}
}

func TestJudgeExpiry(t *testing.T) {
	t.Parallel()
	const rotate = "kubectl actual token rotate vk --remote-context=there"
	failing := condition(contract.ConditionCredentialRenewed, corev1.ConditionFalse, "", "forbidden")
	cases := map[string]struct {
		reason     string
		expires    string
		life       time.Duration
		conditions []corev1.NodeCondition
		level      Level
		found, fix string
	}{
		"Short life": {
			reason:  "akd renews a token of ten minutes after eight",
			expires: now().Add(3 * time.Minute).Format(time.RFC3339),
			life:    10 * time.Minute,
			level:   LevelOK,
			found:   "3m0s",
		},
		"Long life": {
			reason:  "akd renews a token of a week after a day",
			expires: now().Add(2 * time.Minute).Format(time.RFC3339),
			life:    7 * 24 * time.Hour,
			level:   LevelWarning,
			found:   "expires in 2m0s",
			fix:     rotate,
		},
		"Long": {reason: "akd renews it", expires: now().Add(20 * time.Hour).Format(time.RFC3339), level: LevelOK, found: "20h0m0s"},
		"Short": {
			reason:  "akd should have renewed it",
			expires: now().Add(time.Minute).Format(time.RFC3339),
			level:   LevelWarning,
			found:   "expires in 1m0s",
			fix:     rotate,
		},
		"Failing": {
			reason:     "akd says so",
			expires:    now().Add(20 * time.Hour).Format(time.RFC3339),
			conditions: []corev1.NodeCondition{failing},
			level:      LevelFailed,
			found:      "20h0m0s: forbidden",
			fix:        rotate,
		},
		"Unknown": {reason: "somebody else stored it", level: LevelWarning, found: "actual-system/vk", fix: rotate},
		"Unreadable": {
			reason:  "as if it were missing",
			expires: "tomorrow",
			level:   LevelWarning,
			found:   contract.AnnotationTokenExpires,
			fix:     rotate,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Namespace:   contract.SystemNamespace,
				Name:        "vk",
				Annotations: map[string]string{contract.AnnotationTokenExpires: tc.expires},
			}}
			expect(t, tc.reason, judgeExpiry(subject(nil, nil, tc.conditions...), secret, tc.life), tc.level, tc.found, tc.fix)
		})
	}
}
