package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// second is a moment of a test.
func second(number int) *metav1.Time { return new(metav1.NewTime(time.Unix(int64(number), 0))) }

// marker is one that a writer could have given.
func marker(letter string) string { return strings.Repeat(letter, 26) }

// playStored records what an API server says of local claim 1 or 2, which is called after its
// UID: "claim 1 5Gi", "volume 1 Released Retain", "remote 1 a committed deleted gone", or what
// a remote pod of local pod L with claim 1 has said: "pod L 1 AAAA". Seconds go by.
func playStored(h *volumeHistory, now int, step string) {
	words := strings.Fields(step)
	uid := types.UID(words[1])
	meta := metav1.ObjectMeta{Namespace: "ns", Name: "claim-" + words[1], UID: uid, ResourceVersion: fmt.Sprint(now)}
	has := func(word string) bool { return strings.Contains(step, " "+word) }
	switch words[0] {
	case "claim":
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta}
		if len(words) > 2 && words[2] != "gone" {
			claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(words[2])}
		}
		h.sawClaim(claim, has("gone"))
	case "volume":
		volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: contract.VolumeName(uid), UID: "volume-" + uid}}
		volume.Status.Phase, volume.Status.LastPhaseTransitionTime = corev1.PersistentVolumePhase(words[2]), second(now)
		if before := h.of(uid).volume; before != nil && before.Status.Phase == volume.Status.Phase {
			volume.Status.LastPhaseTransitionTime = before.Status.LastPhaseTransitionTime
		}
		volume.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimPolicy(words[3])
		h.sawVolume(volume, has("gone"), has("missed"))
	case "remote":
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: contract.RemoteNamespace(node, "ns"), Name: contract.VolumeName(uid), UID: types.UID(words[2]),
		}}
		if has("committed") {
			claim.Annotations = map[string]string{contract.AnnotationVolume: "volume-" + string(uid)}
		}
		if has("deleted") {
			claim.DeletionTimestamp = second(now)
		}
		h.sawRemoteClaim(claim, has("gone"))
	case "uses", "pod":
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: uid}}
		source := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim-" + words[2]}
		from := local
		if words[0] == "pod" {
			from, pod.Namespace = remote, contract.RemoteNamespace(node, "ns")
			pod.Labels, source.ClaimName = map[string]string{contract.LabelUID: words[1]}, contract.VolumeName(types.UID(words[2]))
			message := strings.Join(words[3:], " ")
			ended := &corev1.ContainerStateTerminated{Message: message, FinishedAt: *second(now)}
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: ended}}}
		}
		pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: source}}}
		h.sawPod(from, pod)
	case "disk":
		h.sawMarker(uid, strings.Join(words[2:], " "))
	}
}

func TestVolumeVerdict(t *testing.T) {
	t.Parallel()
	used := []string{"claim 1 1Gi", "volume 1 Bound Delete", "remote 1 a", "remote 1 a committed", "uses L 1", "pod L 1 " + marker("A")}
	after := func(steps ...string) []string { return append(append([]string(nil), used...), steps...) }
	cases := map[string]struct {
		reason string
		steps  []string
		want   []breach
	}{
		"Lives": {"A successor finds what the first pod has left.", after("pod L 1 "+marker("A"), "disk 1 "+marker("A")), nil},
		"Released": {
			"Its owner has given the data up.",
			after("claim 1 gone", "volume 1 Released Delete", "remote 1 a committed deleted", "remote 1 a committed deleted gone",
				"volume 1 Released Delete gone"), nil,
		},
		"Retained":   {"It is to be kept.", after("volume 1 Released Retain", "remote 1 a committed deleted"), []breach{destroyed}},
		"Bound":      {"Its owner has it.", after("remote 1 a committed deleted gone"), []breach{destroyed}},
		"TooEarly":   {"Its owner gave it up later.", after("remote 1 a committed deleted", "volume 1 Released Delete"), []breach{destroyed}},
		"NoVolume":   {"No volume was ever released.", []string{"remote 1 a committed deleted"}, []breach{destroyed}},
		"Missed":     {"The recorder does not know.", after("remote 1 a committed deleted", "volume 1 Bound Delete missed"), nil},
		"Unused":     {"No pod has ever had it.", []string{"claim 1", "claim 1 gone", "remote 1 a", "remote 1 a deleted gone"}, nil},
		"Again":      {"The first one was empty.", []string{"claim 1", "remote 1 a", "remote 1 a deleted gone", "remote 1 b committed"}, nil},
		"Second":     {"Data was in the first one.", after("remote 1 b"), []breach{destroyed}},
		"Emptied":    {"The data is gone.", after("disk 1"), []breach{destroyed}},
		"OtherData":  {"The data is another's.", after("pod L 1 " + marker("B")), []breach{destroyed}},
		"MixedUp":    {"Two claims have one volume.", after("claim 2", "disk 2 "+marker("A")), []breach{mixed}},
		"OtherClaim": {"The pod has the claim of another one.", after("claim 2", "pod L 2"), []breach{mixed}},
		"Raced":      {"Two pods wrote at once.", after("pod L 1 " + conflict), []breach{raced}},
		"Killed":     {"The kubelet's words are no marker.", after("pod L 1 it could not be located"), nil},
		"Grown":      {"It is larger.", after("claim 1 2Gi"), nil},
		"Shrunk":     {"It is smaller.", after("claim 1 2Gi", "claim 1 1Gi"), []breach{shrunk}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newVolumeHistory()
			for i, step := range tc.steps {
				playStored(h, i, step)
			}
			found := h.verdict()
			wrong := len(found) != len(tc.want)
			for i := range min(len(found), len(tc.want)) {
				wrong = wrong || found[i].Breach != tc.want[i]
			}
			if wrong {
				t.Errorf("%s: got %v, want %v", tc.reason, found, tc.want)
			}
			if again := h.verdict(); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
}

// What the recorder has not seen yet must not be judged.
func TestVolumesBehind(t *testing.T) {
	t.Parallel()
	h := newVolumeHistory()
	playStored(h, 5, "claim 1")
	claim := func(uid types.UID, version string) metav1.Object {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: version}}
	}
	cases := map[string]struct {
		reason string
		listed []metav1.Object
		behind bool
	}{
		"Seen":    {"It is as listed.", []metav1.Object{claim("1", "5")}, false},
		"Changed": {"Versions are numbers.", []metav1.Object{claim("1", "10")}, true},
		"New":     {"It does not know it.", []metav1.Object{claim("1", "5"), claim("2", "1")}, true},
		"Gone":    {"It knows it still.", nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := h.behind(local, tc.listed); (err != nil) != tc.behind {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}
