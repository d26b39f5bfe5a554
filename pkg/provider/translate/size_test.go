package translate

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Variables of Services made a remote pod too large for an API server, which
// answered with an error that looked temporary.
func TestRemotePodTooLarge(t *testing.T) {
	local := localPod(func(p *corev1.Pod) { p.Spec.EnableServiceLinks = new(true) })
	context := PodContext{}
	for i := range 4000 {
		service := &corev1.Service{}
		service.Name, service.Namespace = fmt.Sprintf("a-service-with-quite-a-long-name-%d", i), local.Namespace
		service.Spec.ClusterIP = "10.96.0.1"
		service.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
		context.Services = append(context.Services, service)
	}
	site := siteOf(testMapper(), local.Namespace)
	_, err := site.Pod(local, context)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != ReasonRemotePodTooLarge {
		t.Errorf("error %v, want a refusal", err)
	}
	fitting, leftOut, err := site.FittingPod(local, context)
	if err != nil || leftOut == "" {
		t.Fatalf("FittingPod: %v, and tells %q", err, leftOut)
	}
	names := map[string]bool{}
	for _, variable := range fitting.Spec.Containers[0].Env {
		names[variable.Name] = true
	}
	if !names["KUBERNETES_PORT_443_TCP"] && !names["KUBERNETES_SERVICE_PORT_HTTPS"] {
		t.Error("the variables of the API server are left out")
	}
	if !names["A_SERVICE_WITH_QUITE_A_LONG_NAME_7_SERVICE_HOST"] || names["A_SERVICE_WITH_QUITE_A_LONG_NAME_7_PORT"] {
		t.Error("the pod does not have the addresses of Services alone")
	}
}
