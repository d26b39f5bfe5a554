package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Node is the name of the node that akd serves.
const Node = "ak"

// errUnknown means that the script is wrong.
var errUnknown = errors.New("unknown")

// scenario is the state of a running script.
type scenario struct {
	t       *testing.T
	archive *txtar.Archive
	local   *fakeServer
	remote  *fakeServer
	next    setting // of akd, from the next start on
	out     strings.Builder
	akd     *process
	former  *process                     // stands still; akd has taken over
	away    map[objectKey]runtime.Object // what the remote cluster has with which akd does not work
	started func()                       // hears of each start of akd
}

// Play plays the script in the comment of an archive and returns the output of
// its show and writes commands. It is called within testing/synctest: time is
// fake.
func Play(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	s := newScenario(t, archive)
	s.start()
	for number, line := range strings.Split(string(archive.Comment), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.do(words); err != nil {
			t.Errorf("line %d: %s: %v", number+1, strings.Join(words, " "), err)
		}
	}
	s.akd.end()
	return s.out.String()
}

func newScenario(t *testing.T, archive *txtar.Archive) *scenario {
	t.Helper()
	s := &scenario{t: t, archive: archive, local: newFakeServer("local"), remote: newFakeServer("remote"), started: func() {}}
	s.next.cluster = firstCluster
	s.local.schedule()
	s.remote.provide()
	return s
}

// start runs akd as a new process.
func (s *scenario) start() {
	s.started()
	s.akd = run(s.t, s.local.link(), s.remote.link(), s.next)
	settle()
}

func mapper() *translate.Mapper {
	return &translate.Mapper{
		Owner:         contract.Owner{Node: Node, ClusterUID: "local-cluster"},
		Bounds:        translate.Bounds{References: 4, Tokens: 4, Bundles: 4, Certificates: 4},
		ClusterDomain: "cluster.local",
		PodSecurity:   "baseline",
		APIServer:     translate.APIServer{Host: "192.0.2.1", Port: 6443},

		MaxUnevictable: 3,
	}
}

// settle waits until everything due within two seconds has happened.
func settle() {
	<-time.After(2 * time.Second) // in fake time
	synctest.Wait()
}

// takeOver lets akd stand still, and another one begin.
func (s *scenario) takeOver() {
	if s.former != nil {
		s.former.end()
	}
	s.former = s.akd
	s.former.pause()
	s.start()
}

// resume lets the akd that stood still go on beside the other one for a moment. Its fence
// refuses all that it writes, since its lease has run out.
func (s *scenario) resume() {
	if s.former == nil {
		return
	}
	s.former.resume()
	settle()
	s.former.end()
	s.former = nil
}

// do plays one line. What happens between two lines in which time passes happens at once:
// akd hears of it when time passes, and does nothing in between.
func (s *scenario) do(words []string) error {
	defer s.remote.finishNamespaces()
	s.local.storage.speak(takesTime(words))
	s.remote.storage.speak(takesTime(words))
	switch words[0] {
	case "settle":
		settle()
		return nil
	case "wait":
		period, err := time.ParseDuration(words[1])
		<-time.After(period) // in fake time
		synctest.Wait()
		return err
	case "show":
		s.show()
		return nil
	case "orphans":
		_, _ = fmt.Fprintf(&s.out, "orphans kept: %t\n\n", s.akd.controller.OrphansKept())
		return nil
	case "pending":
		_, _ = fmt.Fprintf(&s.out, "remotely pending: %d\n\n", s.akd.controller.CountRemotelyPending())
		return nil
	case "volumes":
		_, _ = fmt.Fprintf(&s.out, "volumes: %v\n\n", s.akd.controller.CountVolumes())
		return nil
	case "events":
		for _, line := range s.local.told() {
			_, _ = fmt.Fprintln(&s.out, line)
		}
		return nil
	case "writes":
		s.local.report(&s.out)
		s.remote.report(&s.out)
		return nil
	case "reads":
		s.local.reportReads(&s.out)
		s.remote.reportReads(&s.out)
		return nil
	}
	if server, namespace, words := s.addressed(words); server != nil {
		return s.act(server, namespace, words)
	}
	return s.control(words)
}

// control starts and ends akd, or makes it another one from its next start on.
func (s *scenario) control(words []string) error {
	switch words[0] {
	case "start", "restart":
		s.akd.end()
		s.start()
	case "stop":
		s.akd.end()
	case "pause":
		s.takeOver()
	case "resume":
		s.resume()
	case "crash":
		requests, err := strconv.ParseInt(words[1], 10, 64)
		s.akd.dieAfter(requests)
		return err
	case "tenant":
		s.akd.end()
		s.remote.confine()
		s.start()
	case "storage": // or storage none
		s.akd.end()
		s.next.storage = len(words) == 1
		s.makeClasses()
		s.start()
	case "cluster":
		s.moveTo(words[1])
	case "mirror":
		s.next.mirror = len(words) == 1 // or mirror none
	case "skew":
		by, err := time.ParseDuration(words[1])
		s.next.skew = by
		return err
	default:
		return fmt.Errorf("%w: command %q", errUnknown, words[0])
	}
	return nil
}

// takesTime reports whether time passes while a line is played.
func takesTime(words []string) bool {
	return slices.Contains([]string{"settle", "wait", "restart", "tenant", "storage", "cluster", "stop", "start", "pause", "resume"}, words[0])
}

// addressed returns the API server and the namespace to which a command is addressed, and
// the rest of the command; or nil.
func (s *scenario) addressed(words []string) (server *fakeServer, namespace string, rest []string) {
	switch words[0] {
	case "local":
		server, namespace = s.local, metav1.NamespaceDefault
	case "remote":
		server, namespace = s.remote, contract.RemoteNamespace(Node, metav1.NamespaceDefault)
	default:
		return nil, "", words
	}
	if rest = words[1:]; len(rest) > 1 && rest[0] == "in" {
		return server, strings.Trim(rest[1], "-"), rest[2:] // - for no namespace
	}
	return server, namespace, rest
}

// act plays a party other than akd: a user, a kubelet, an administrator.
func (s *scenario) act(c *fakeServer, namespace string, words []string) error {
	ctx := s.t.Context()
	name := ""
	if len(words) > 1 {
		name = words[1]
	}
	switch words[0] {
	case "create":
		return c.add(s.pod(namespace, name, words[2:]))
	case "apply":
		return c.applyYAML(Section(s.archive, name))
	case "delete":
		if len(words) > 2 && (name == "claim" || name == "volume") {
			return s.deleteStored(c, namespace, words[1:])
		}
		return c.deletePod(namespace, name, words[2:])
	case "remove":
		return c.storage.Delete(resourceOf(name), namespace, words[2])
	case "image":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = words[2] })
	case "resize":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(words[2])}
		})
	case "label":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { metav1.SetMetaDataLabel(&pod.ObjectMeta, "app", words[2]) })
	case "status":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { setPhase(pod, words[2:]...) })
	case "unschedulable":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) {
			pod.Status.Conditions = []corev1.PodCondition{{
				Type:    corev1.PodScheduled,
				Status:  corev1.ConditionFalse,
				Reason:  corev1.PodReasonUnschedulable,
				Message: strings.Join(words[2:], " "),
			}}
		})
	case "finalize":
		return c.edit(ctx, namespace, name, func(pod *corev1.Pod) { pod.Finalizers = words[2:] })
	case "kubelet":
		return c.kubelet(ctx, namespace, name, words[2])
	case "end":
		return c.end(namespace)
	}
	if known, err := s.actOnClaims(c, namespace, words); known {
		return err
	}
	return c.behave(words)
}

// behave makes the API server itself do something, or do something else than it did.
func (c *fakeServer) behave(words []string) error {
	switch words[0] {
	case "sign":
		return c.sign(words[1:])
	case "confine":
		c.confine()
	case "refuse":
		c.refuse(words[1], words[2], strings.Join(words[3:], " "))
	case "reject":
		c.reject(words[1], strings.Join(words[2:], " "))
	case "fail":
		return c.fail(words[1], words[2], words[3])
	case "controllers":
		c.controllers.halt(words[1] == "stop")
	case "provisioner":
		c.jam(words[1] == "fails")
	case "authorize":
		c.authorizeLate(words[1] == "late")
	case "accept":
		c.accept()
	case "lose":
		c.loseNext(words[1:])
	case "hold":
		c.holdNext(words[1:])
	case "arrive":
		c.arrive()
	case "lag":
		return c.lag(words[1:])
	case "catch-up":
		c.storage.catchUp()
	case "cut":
		c.interrupt(c.storage.cut)
	case "compact":
		c.interrupt(c.storage.compact)
	case "save":
		c.storage.save()
	case "restore":
		c.interrupt(c.storage.restore)
	default:
		return fmt.Errorf("%w: act %q", errUnknown, words[0])
	}
	return nil
}

// pod returns a new pod. The options are a restart policy; held, for a finalizer; mirror,
// for a static pod's annotation; owned, for a controller; cpu, for a request; port, for one
// of the node; uses, for a ConfigMap and a Secret of the name conf; many, for several
// ConfigMaps of its own; tokens, bundle and certificate, for what is projected into
// volumes; claim=NAME, for a claim, and ephemeral, for one of the pod's own, with which the
// scheduler binds the pod; and bound, for a pod that no scheduler binds.
func (s *scenario) pod(namespace, name string, options []string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1},
		Spec: corev1.PodSpec{
			NodeName:   Node,
			Containers: []corev1.Container{{Name: "main", Image: "busybox"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	for _, option := range options {
		if s.useClaim(pod, option) {
			continue
		}
		switch option {
		case "held":
			pod.Finalizers = []string{"example.org/hold"}
		case "mirror":
			pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "static"}
		case "owned":
			pod.OwnerReferences = []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "owner", Controller: new(true)},
			}
		case "port":
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80, Protocol: corev1.ProtocolTCP}}
		case "cpu":
			pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
		case "tokens":
			project(pod, "token", corev1.VolumeProjection{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3600))},
			})
		case "bundle":
			project(pod, option, corev1.VolumeProjection{
				ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: new("corp"), Path: "corp.pem"},
			})
		case "certificate":
			project(pod, option, corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{
				SignerName: "example.org/s", KeyType: "ED25519", CredentialBundlePath: "own.pem",
			}})
		case "uses":
			pod.Spec.Containers[0].EnvFrom = append(configMaps("conf"), corev1.EnvFromSource{
				SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "conf"}, Optional: new(true)},
			})
		case "many":
			pod.Spec.Containers[0].EnvFrom = configMaps(name+"-1", name+"-2", name+"-3")
		default:
			pod.Spec.RestartPolicy = corev1.RestartPolicy(option)
		}
	}
	return pod
}

// project gives a pod a volume.
func project(pod *corev1.Pod, name string, source corev1.VolumeProjection) {
	pod.Spec.ServiceAccountName = "builder"
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name:         name,
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}}},
	})
}

// configMaps are the variables of optional ConfigMaps.
func configMaps(names ...string) []corev1.EnvFromSource {
	var sources []corev1.EnvFromSource
	for _, name := range names {
		reference := corev1.LocalObjectReference{Name: name}
		sources = append(sources, corev1.EnvFromSource{
			ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: reference, Optional: new(true)},
		})
	}
	return sources
}

// setPhase sets the status that a kubelet would report for a pod: its phase, and the
// exit code of a container that failed, 1 by default.
func setPhase(pod *corev1.Pod, report ...string) {
	now := in(0)
	pod.Status.StartTime = &now
	pod.Status.Phase = corev1.PodPhase(report[0])
	code := int64(1)
	if len(report) > 1 {
		code, _ = strconv.ParseInt(report[1], 10, 32)
	}
	pod.Status.PodIP = "10.0.0.1"
	ready := corev1.ConditionFalse
	var state corev1.ContainerState
	switch pod.Status.Phase {
	case corev1.PodRunning:
		ready, state.Running = corev1.ConditionTrue, &corev1.ContainerStateRunning{StartedAt: now}
	case corev1.PodSucceeded:
		state.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed"}
	case corev1.PodFailed:
		state.Terminated = &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: int32(code)}
	default:
		state.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "main", State: state, Ready: ready == corev1.ConditionTrue, Image: "busybox"},
	}
}

// show prints the content of both clusters, in a form that diffs well.
func (s *scenario) show() {
	for _, c := range []*fakeServer{s.local, s.remote} {
		for _, line := range c.lines() {
			_, _ = fmt.Fprintf(&s.out, "%s\n", line)
		}
	}
	s.out.WriteString("\n")
}

// Section returns the content of the archive's file with that name, or an empty
// string.
func Section(archive *txtar.Archive, name string) string {
	for _, file := range archive.Files {
		if file.Name == name {
			return string(file.Data)
		}
	}
	return ""
}
