package scenario

import (
	"math/rand/v2"
	"slices"

	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Generate returns the history of a seed, which is always the same one.
func Generate(seed uint64, length int) []string {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not a secret
	var lines []string
	if seed%2 == 1 {
		lines = append(lines, "tenant")
	}
	if hasStorage(seed) {
		lines = append(lines, "storage")
	}
	lines = append(lines, "local apply node.yaml", "local apply account.yaml", "local in other apply account-2.yaml")
	for len(lines) < length {
		lines = append(lines, act(r, hasStorage(seed))...)
	}
	return lines
}

// namespaces are the local namespaces in which the histories happen.
func namespaces() []string { return []string{metav1.NamespaceDefault, "other"} }

// weighted is something that may happen, and how often compared with others.
type weighted struct {
	weight int
	lines  []string
}

// act returns something that happens: plausible, or nasty.
func act(r *rand.Rand, storage bool) []string {
	acts := slices.Concat(podActs(r), objectActs(r), faults(r), themes(r))
	if storage {
		acts = slices.Concat(acts, claimActs(r), claimFaults(r), claimThemes(r), sourceThemes(r))
	}
	total := 0
	for _, act := range acts {
		total += act.weight
	}
	chosen := r.IntN(total)
	for _, act := range acts {
		if chosen -= act.weight; chosen < 0 {
			return act.lines
		}
	}
	panic("the weights add up")
}

// podActs are what users and kubelets do to pods, and time.
func podActs(r *rand.Rand) []weighted {
	name := pick(r, "a", "b", "c")
	local, remote := "local ", "remote "
	if r.IntN(4) == 0 {
		local, remote = "local in other ", "remote in "+contract.RemoteNamespace(Node, "other")+" "
	}
	kubelet := remote + "kubelet " + name + " " + pick(r, "0", "1", "42", "137")
	create := local + "create " + name +
		pick(r, "", " OnFailure", pick(r, " Never", " Always")+pick(r, "", " held", " uses", " many", " tokens"))
	create += pick(r, "", "", "", "", " cpu", " cpu owned", " port owned", " mirror", " bundle", " certificate")
	return []weighted{
		{14, []string{"settle"}},
		{6, []string{"wait " + pick(r, "1ms", "100ms", "1s", "35s", "2m", "6m")}},
		{12, []string{create}},
		{24, []string{kubelet}},
		{8, []string{kubelet, kubelet}},
		{8, []string{local + "delete " + name + pick(r, "", "", " 0", " 1", " 5")}},
		{4, []string{local + "delete " + name + " 0", create}},
		{4, []string{local + "delete " + name, kubelet, kubelet, create}},
		{3, []string{local + "finalize " + name}},
		{2, []string{local + "image " + name + " v2"}},
		{2, []string{local + "resize " + name + pick(r, " 100m", " 200m")}},
		{2, []string{local + "label " + name + pick(r, " one", " two")}},
		{3, []string{remote + "delete " + name + pick(r, "", " 0", " 5")}},
		{1, []string{remote + "create " + name}},                                                // somebody else's
		{1, []string{remote + "delete a", remote + "delete b", remote + "delete c"}},            // a drain
		{1, []string{"wait " + pick(r, "10ms", "3s", "10m", pick(r, "2h", "2h", "2h", "26h"))}}, // a day is dear
		{1, []string{local + "end"}},
		{1, []string{remote + "end"}},
		{3, []string{"remote lag", "remote lose", create, "wait 1ms", kubelet}},
	}
}

// themes are what happens together when a guard of akd's is needed: by chance alone it
// would be rare.
func themes(r *rand.Rand) []weighted {
	name := pick(r, "a", "b", "c")
	other := map[string]string{"a": "b", "b": "c", "c": "a"}[name]
	create := func(options string) string { return "local create " + name + options }
	kubelet := "remote kubelet " + name + " " + pick(r, "0", "42")
	remove := "local delete " + name
	side := pick(r, "local", "remote")
	const settle = "settle"
	running := []string{create(pick(r, " Never", " OnFailure")), settle, kubelet, settle}
	with := func(lines ...string) weighted { return weighted{2, lines} }
	after := func(lines ...string) weighted { return with(slices.Concat(running, lines)...) }
	return []weighted{
		// A pod is replaced while akd is about to release the former one.
		after(remove, settle, "local lag", remove+" 0", create(""), kubelet, kubelet, settle),
		// Somebody else's pod takes the place of a remote pod.
		after("remote lag", "remote delete "+name+" 0", "remote finalize "+name, "remote create "+name, remove, settle),
		with("remote create "+name, create(" Never"), settle, "remote delete "+name+" 0", settle),
		// A write arrives after a later one.
		with(create(" Never"), settle, "local hold", kubelet, settle, kubelet, settle, "local arrive"),
		with(create(" Never"), "remote hold", settle, remove+" 0", create(" Always"), settle, "remote arrive"),
		// akd starts beside caches that lag.
		with("remote lag", create(" Never held"), "local lag", settle, remove, kubelet, "restart", kubelet, "restart"),
		after("local lag", "remote lag", kubelet, remove+" 0", create(""), "restart"),
		// akd stands still and goes on when another one has taken over.
		after("pause", pick(r, kubelet, remove), settle, kubelet, pick(r, settle, remove), pick(r, "resume", settle), "resume"),
		with(create(" Never"), pick(r, "local", "remote")+" hold", settle, kubelet, settle, "pause", kubelet, remove, kubelet, "resume"),
		// A pod and its end are gone at once.
		after(kubelet, "remote finalize "+name, "remote delete "+name+" 0", settle),
		// A kubelet is silent, or its cache is.
		after(pick(r, remove, "remote delete "+name+" 5"), settle, "remote lag", kubelet, "wait "+pick(r, "35s", "2m", "6m")),
		// akd starts beside API servers that do not know what it has done.
		after(pick(r, remove, kubelet), settle, pick(r, "local", "remote")+" lag "+pick(r, "2", "4", "6"), "restart", kubelet, settle),
		after(kubelet, settle, remove, settle, kubelet, settle, "local lag "+pick(r, "4", "6", "8"), "restart", kubelet, settle),
		// Somebody else's pod has the name, and akd does not know it.
		with(create(""), settle, "remote lag", "remote create "+pick(r, "a", "b", "c"), "local create "+pick(r, "a", "b", "c")+" Never", settle,
			"local delete "+pick(r, "a", "b", "c")+pick(r, "", " 0"), settle),
		// A namespace ends unseen, or its creation is unclear, and nobody asks for its pod.
		with("local apply service.yaml", create(""), settle, "remote finalize "+name, "remote lag", "remote end",
			"remote delete "+name+" 0", "local create "+other, pick(r, settle, "wait 1ms"), pick(r, settle, "local delete "+other+" 0")),
		with("remote lose", "local in other create "+name, "wait 1ms", "local in other delete "+name+" 0"),
		// Pods come and go while nobody opens their namespace.
		with("local in other delete a 0", "local in other delete b 0", "local in other delete c 0", "wait 11m",
			"remote refuse create namespaces quota", "local in other create "+name, "wait 35s", settle,
			"local in other delete "+name+" 0", settle, "local in other create "+name, settle),
		// The node has no room, for pods or for what they refer to, and then it has.
		with("local apply node-2.yaml", create(" Never cpu owned"), "local create "+other+" cpu owned",
			"local in other create "+name+" cpu owned", settle, remove+" 0", "local delete "+other+" 0", create(" cpu owned"),
			pick(r, settle, "wait 35s"), "local apply node.yaml"),
		with(create(" port owned"), settle, "local create "+other+" port owned", settle, remove, "local create "+other+" port owned", kubelet),
		with(create(" Never many"), settle, "local create "+other+" many", "local in other create "+name+" many", settle, kubelet,
			pick(r, kubelet, remove), pick(r, kubelet, "restart"), "wait "+pick(r, "1s", "35s", "2m")),
		with("remote reject policy no", create(" port owned"), settle, remove, "local create "+other+" port owned",
			pick(r, "local lose", settle), settle),
		// A pod seems static, and has a predecessor, or something that holds it.
		with("remote refuse create namespaces quota", "local in other create "+name+" Never held mirror", "wait 2h"),
		with(create(""), settle, remove+" 0", create(" Never held mirror"), settle),
		// What is projected into a volume changes while the pod runs.
		with("local apply corp.yaml", create(" bundle"), settle, kubelet, settle,
			pick(r, "local apply corp-2.yaml", "local in - remove clustertrustbundles corp", "restart"), settle),
		with(create(" OnFailure certificate"), settle, "local sign", settle, kubelet, "wait "+pick(r, "70m", "70m", "70m", "26h"),
			pick(r, "local sign", "restart"), "local sign", settle),
		// A pod may run of which akd has not heard, and nobody answers what it asks.
		with(create(""), settle, "remote lag", "remote lose", "local create "+other+" Never", "wait 1ms", "remote kubelet "+other+" 0",
			"remote "+pick(r, "refuse get pods busy", "fail get pods 500"), "local delete "+other+pick(r, "", " 0"), settle),
		// A namespace ends for hours.
		with(create(" Never many"), settle, "local create "+other+" many", "remote end", "wait 2h"),
		// A cluster goes back to a backup, and cannot say so for a while.
		with(create(" Never"), settle, side+" save", remove+" 0", kubelet, kubelet, settle, side+" fail list pods 503", side+" restore",
			create(" Never"), settle),
		// A copy becomes somebody else's, unseen.
		with("local apply secret.yaml", create(" Never uses"), settle, "remote lag", "remote apply foreign.yaml",
			pick(r, remove+" 0", "local remove secrets conf"), settle),
	}
}

// objectActs are what happens to what pods need besides themselves.
func objectActs(r *rand.Rand) []weighted {
	return []weighted{
		{2, []string{"local apply " + pick(r, "conf.yaml", "conf-2.yaml")}},
		{2, []string{"local apply secret.yaml"}},
		{2, []string{"local apply " + pick(r, "service.yaml", "service-2.yaml")}},
		{2, []string{"local apply " + pick(r, "slice.yaml", "slice-2.yaml")}},
		{2, []string{"local apply " + pick(r, "corp.yaml", "corp-2.yaml")}},
		{2, []string{"local apply " + pick(r, "node.yaml", "node-2.yaml")}},
		{2, []string{"local apply " + pick(r, "many.yaml", "many-2.yaml")}},
		{4, []string{"local sign"}},
		{1, []string{"local sign Denied"}},
		{1, []string{"local in - remove clustertrustbundles corp"}},
		{1, []string{"local remove configmaps conf"}},
		{1, []string{"local remove configmaps a-1"}},
		{1, []string{"local remove secrets conf"}},
		{1, []string{"local remove services web"}},
		{1, []string{"local remove endpointslices web-1"}},
		{3, []string{"local apply " + pick(r, "budget.yaml", "budget-2.yaml", "budget-3.yaml")}},
		{1, []string{"local remove poddisruptionbudgets web"}},
		{1, []string{"remote remove poddisruptionbudgets web"}},
		{1, []string{"remote remove services web"}},
		{1, []string{"remote apply foreign.yaml"}},
	}
}

// faults are what goes wrong, and what ends it.
func faults(r *rand.Rand) []weighted {
	side := pick(r, "local", "remote")
	copied := pick(r, "configmaps", "secrets", "services", "endpointslices", "poddisruptionbudgets")
	return []weighted{
		{3, []string{"restart"}},
		{2, []string{"pause"}},
		{3, []string{"resume"}},
		{1, []string{"skew " + pick(r, "-2m", "2m", "0s")}},
		{1, []string{"local authorize " + pick(r, "late", "late", "soon")}},
		{1, []string{"stop"}},
		{2, []string{"start"}},
		{4, []string{"crash " + pick(r, "0", "1", "2", "3", "5", "8")}},
		{3, []string{side + " lose"}},
		{2, []string{side + " hold"}},
		{2, []string{side + " arrive"}},
		{4, []string{side + " lag"}},
		{6, []string{side + " catch-up"}},
		{3, []string{side + " cut"}},
		{4, []string{side + " compact"}},
		{1, []string{side + " save"}},
		{1, []string{side + " restore"}},
		{2, []string{"local refuse patch pods/status busy"}},
		{2, []string{"local refuse delete pods busy"}},
		{2, []string{"remote refuse create pods quota"}},
		{1, []string{"remote refuse delete pods busy"}},
		{1, []string{"remote refuse patch pods busy"}},
		{1, []string{"remote refuse get pods busy"}},
		{1, []string{"remote refuse create namespaces quota"}},
		{1, []string{"remote refuse " + pick(r, "create", "update", "delete") + " " + copied + " busy"}},
		{1, []string{"remote reject " + pick(r, "policy", "webhook", "webhook", "validation") + " no"}},
		{1, []string{"local refuse create serviceaccounts/token busy"}},
		{1, []string{"local " + pick(r, "refuse", "fail") + " create podcertificaterequests " + pick(r, "429", "500")}},
		{1, []string{"local " + pick(r, "refuse", "fail") + " list " + pick(r, "clustertrustbundles", "podcertificaterequests") + " 500"}},
		{1, []string{side + " refuse list " + pick(r, "pods", "configmaps", "secrets", "services") + " busy"}},
		{1, []string{side + " fail all all " + pick(r, "401", "429", "500", "503", "504")}},
		{2, []string{side + " fail " + pick(r, "get", "list", "create", "patch", "delete") + " pods " + pick(r, "429", "500", "503", "504")}},
		{1, []string{"local fail patch pods/status " + pick(r, "429", "500", "503", "504")}},
		{1, []string{"remote fail create " + pick(r, "namespaces", "rolebindings", copied) + " " + pick(r, "429", "500", "503", "504")}},
		{5, []string{"local accept", "remote accept"}},
	}
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// files are what the histories apply.
func files() []txtar.File {
	object := func(version, kind, namespace, name, content string) string {
		return "apiVersion: " + version + "\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n  namespace: " + namespace + "\n" + content
	}
	configMap := func(value string) string {
		return object("v1", "ConfigMap", metav1.NamespaceDefault, "conf", "data: {a: "+value+"}\n")
	}
	secret := func(namespace, value string) string {
		return object("v1", "Secret", namespace, "conf", "data: {a: "+value+"}\n")
	}
	service := func(address string) string {
		return object("v1", "Service", metav1.NamespaceDefault, "web",
			"spec: {clusterIP: "+address+", clusterIPs: ["+address+"], ports: [{port: 80, protocol: TCP}]}\n")
	}
	slice := func(ready string) string {
		return object("discovery.k8s.io/v1", "EndpointSlice", metav1.NamespaceDefault, "web-1",
			"  labels: {kubernetes.io/service-name: web}\naddressType: IPv4\nports: [{port: 80, protocol: TCP}]\n"+
				"endpoints: [{addresses: [10.245.0.9], conditions: {ready: "+ready+"}}]\n")
	}
	budget := func(selector, desired string) string {
		return object("policy/v1", "PodDisruptionBudget", metav1.NamespaceDefault, "web",
			"spec: {minAvailable: 50%, selector: "+selector+"}\nstatus: {currentHealthy: 3, desiredHealthy: "+desired+"}\n")
	}
	bundle := func(content string) string {
		return object("certificates.k8s.io/v1", "ClusterTrustBundle", "", "corp",
			"spec: {trustBundle: \"-----BEGIN CERTIFICATE-----\\n"+content+"\\n-----END CERTIFICATE-----\\n\"}\n")
	}
	node := func(cpu string) string {
		return object("v1", "Node", "", Node, "status: {allocatable: {cpu: "+cpu+", pods: 5}}\n")
	}
	account := func(namespace string) string { return object("v1", "ServiceAccount", namespace, "builder", "") }
	return []txtar.File{
		{Name: "node.yaml", Data: []byte(node("1"))},
		{Name: "node-2.yaml", Data: []byte(node("250m"))},
		{Name: "account.yaml", Data: []byte(account(metav1.NamespaceDefault))},
		{Name: "account-2.yaml", Data: []byte(account("other"))},
		{Name: "corp.yaml", Data: []byte(bundle("YQ=="))},
		{Name: "corp-2.yaml", Data: []byte(bundle("Yg=="))},
		{Name: "many.yaml", Data: []byte(object("v1", "ConfigMap", metav1.NamespaceDefault, "a-1", "data: {a: one}\n"))},
		{Name: "many-2.yaml", Data: []byte(object("v1", "ConfigMap", metav1.NamespaceDefault, "a-1", "data: {a: two}\n"))},
		{Name: "conf.yaml", Data: []byte(configMap("one"))},
		{Name: "conf-2.yaml", Data: []byte(configMap("two"))},
		{Name: "secret.yaml", Data: []byte(secret(metav1.NamespaceDefault, "bG9jYWw="))},
		{Name: "foreign.yaml", Data: []byte(secret(contract.RemoteNamespace(Node, metav1.NamespaceDefault), "cmVtb3Rl"))},
		{Name: "service.yaml", Data: []byte(service("10.96.0.7"))},
		{Name: "service-2.yaml", Data: []byte(service("10.96.0.8"))},
		{Name: "slice.yaml", Data: []byte(slice("true"))},
		{Name: "slice-2.yaml", Data: []byte(slice("false"))},
		{Name: "budget.yaml", Data: []byte(budget("{}", "2"))},
		{Name: "budget-2.yaml", Data: []byte(budget("{matchExpressions: [{key: app, operator: Exists}]}", "5"))},
		{Name: "budget-3.yaml", Data: []byte(budget("{matchLabels: {actual.vk/uid: x}}", "1"))},
	}
}
