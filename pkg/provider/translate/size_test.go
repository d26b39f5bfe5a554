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
	_, err := siteOf(testMapper(), local.Namespace).Pod(local, context)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != ReasonRemotePodTooLarge {
		t.Errorf("error %v, want a refusal", err)
	}
}
