package translate

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const masterService = "kubernetes"

// variables returns the variables of every container of the pod that does not set
// them itself: the address of the local API server, the Services of the local
// namespace, and those of the configuration. As in a kubelet, a Service of the
// namespace that is named kubernetes hides that of the API server.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/kubelet_pods.go (getServiceEnvVarMap)
func (m *Mapper) variables(local *corev1.Pod, context *PodContext) []corev1.EnvVar {
	var links []*corev1.Service
	if local.Spec.EnableServiceLinks == nil || *local.Spec.EnableServiceLinks {
		links = linked(local.Namespace, context.Services)
	}
	if !slices.ContainsFunc(links, func(service *corev1.Service) bool { return service.Name == masterService }) {
		links = slices.Insert(links, 0, m.apiServerService())
	}
	var env []corev1.EnvVar
	for _, service := range links {
		env = append(env, context.links.of(service)...)
	}
	return append(env, m.Env...)
}

// serviceLinks says which variables of Services a remote pod gets. A kubelet computes
// them and stores them nowhere; a remote pod has them in its spec, once per container.
type serviceLinks int

const (
	allLinks  serviceLinks = iota // what a kubelet sets
	addresses                     // NAME_SERVICE_HOST and NAME_SERVICE_PORT
	noLinks                       // those of the API server
)

// of returns the variables of a Service.
func (l serviceLinks) of(service *corev1.Service) []corev1.EnvVar {
	all := serviceVariables(service)
	switch {
	case l == allLinks || service.Name == masterService:
		return all
	case l == addresses:
		return all[:2]
	default:
		return nil
	}
}

// apiServerService is the Service default/kubernetes as remote pods reach it.
func (m *Mapper) apiServerService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: masterService, Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			ClusterIP: m.APIServer.Host,
			Ports:     []corev1.ServicePort{{Name: "https", Port: m.APIServer.Port, Protocol: corev1.ProtocolTCP}},
		},
	}
}

// linked returns the Services for which a kubelet sets variables in the pods of a
// namespace, sorted by name. It leaves out Services without an IP, and the Service
// kubernetes of the namespace default, which apiServerService replaces.
func linked(namespace string, services []*corev1.Service) []*corev1.Service {
	var found []*corev1.Service
	for _, service := range services {
		hasIP := service.Spec.ClusterIP != "" && service.Spec.ClusterIP != corev1.ClusterIPNone
		master := namespace == metav1.NamespaceDefault && service.Name == masterService
		if service.Namespace == namespace && hasIP && !master && len(service.Spec.Ports) > 0 {
			found = append(found, service)
		}
	}
	slices.SortFunc(found, func(a, b *corev1.Service) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// serviceVariables returns the variables that a kubelet sets for a Service,
// including those that are compatible with Docker links.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func serviceVariables(service *corev1.Service) []corev1.EnvVar {
	prefix, host := variableName(service.Name), service.Spec.ClusterIP
	first := service.Spec.Ports[0]
	env := []corev1.EnvVar{
		{Name: prefix + "_SERVICE_HOST", Value: host},
		{Name: prefix + "_SERVICE_PORT", Value: strconv.Itoa(int(first.Port))},
	}
	for _, port := range service.Spec.Ports {
		if port.Name != "" {
			env = append(env, corev1.EnvVar{Name: prefix + "_SERVICE_PORT_" + variableName(port.Name), Value: strconv.Itoa(int(port.Port))})
		}
	}
	env = append(env, corev1.EnvVar{Name: prefix + "_PORT", Value: linkURL(host, first)})
	for _, port := range service.Spec.Ports {
		link := fmt.Sprintf("%s_PORT_%d_%s", prefix, port.Port, strings.ToUpper(protocol(port)))
		env = append(env,
			corev1.EnvVar{Name: link, Value: linkURL(host, port)},
			corev1.EnvVar{Name: link + "_PROTO", Value: protocol(port)},
			corev1.EnvVar{Name: link + "_PORT", Value: strconv.Itoa(int(port.Port))},
			corev1.EnvVar{Name: link + "_ADDR", Value: host},
		)
	}
	return env
}

func linkURL(host string, port corev1.ServicePort) string {
	return protocol(port) + "://" + net.JoinHostPort(host, strconv.Itoa(int(port.Port)))
}

func protocol(port corev1.ServicePort) string {
	if port.Protocol == "" {
		return "tcp"
	}
	return strings.ToLower(string(port.Protocol))
}

func variableName(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// environment is what akd adds to the containers of one pod.
type environment struct {
	mapper    *Mapper
	local     *corev1.Pod
	variables []corev1.EnvVar
	context   PodContext
}

// translate modifies a copy of a local container. It translates the container's own
// variables and inserts those of akd before them. A kubelet uses the last of equal
// names, and expands $(NAME) in the order of the list, so the container's own
// variables win.
func (e *environment) translate(container *corev1.Container) {
	own := container.Env
	for i := range own {
		e.mapper.translateVariable(&own[i], e.local)
	}
	imported := e.context.imported(container.EnvFrom)
	merged := make([]corev1.EnvVar, 0, len(e.variables)+len(own))
	for i := range e.variables {
		if name := e.variables[i].Name; !imported[name] && !shadowed(name, own) {
			merged = append(merged, *e.variables[i].DeepCopy())
		}
	}
	container.Env = slices.Concat(merged, own)
}

// imported returns the names that a container gets from envFrom. In a kubelet they
// override variables of Services: REDIS_PORT of a ConfigMap is a number, that of a
// Service redis is not. The variables of akd are in env, which would override
// envFrom, so akd leaves out those names.
func (a *PodContext) imported(from []corev1.EnvFromSource) map[string]bool {
	names := map[string]bool{}
	for i := range from {
		if ref := from[i].ConfigMapRef; ref != nil && a.ConfigMaps[ref.Name] != nil {
			for key := range a.ConfigMaps[ref.Name].Data {
				names[from[i].Prefix+key] = true
			}
		}
		if ref := from[i].SecretRef; ref != nil && a.Secrets[ref.Name] != nil {
			for key := range a.Secrets[ref.Name].Data {
				names[from[i].Prefix+key] = true
			}
		}
	}
	return names
}

// shadowed reports whether the container sets the variable itself, and none of its
// variables refers to the name.
func shadowed(name string, own []corev1.EnvVar) bool {
	set := slices.ContainsFunc(own, func(v corev1.EnvVar) bool { return v.Name == name })
	return set && !slices.ContainsFunc(own, func(v corev1.EnvVar) bool { return strings.Contains(v.Value, "$("+name+")") })
}

func (m *Mapper) translateVariable(variable *corev1.EnvVar, local *corev1.Pod) {
	from := variable.ValueFrom
	switch {
	case from == nil:
	case from.FieldRef != nil:
		if value, ok := m.localField(from.FieldRef.FieldPath, local); ok {
			// A kubelet expands $(NAME) in values, but not in those of fields.
			variable.ValueFrom, variable.Value = nil, strings.ReplaceAll(value, "$", "$$")
		}
	}
}

// localField returns the value of a field that differs in the remote pod.
func (m *Mapper) localField(path string, local *corev1.Pod) (string, bool) {
	switch path {
	case "metadata.namespace":
		return local.Namespace, true
	case "metadata.uid":
		return string(local.UID), true
	case "spec.nodeName":
		return m.Node, true
	case "spec.serviceAccountName":
		return local.Spec.ServiceAccountName, true
	}
	return m.dropped(path, local)
}
