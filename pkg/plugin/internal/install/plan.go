package install

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// action is what a step of an installation does.
type action string

// The actions of install.
const (
	takeOver        action = "take over"
	claimName       action = "claim name"
	applyObjects    action = "apply"
	awaitPolicies   action = "await policies"
	awaitVolumes    action = "await policies of volumes"
	seedRecord      action = "seed record"
	createClasses   action = "create classes"
	markNamespaces  action = "mark namespaces"
	storeCredential action = "store credential"
	removeApprover  action = "remove approver"
	awaitAKD        action = "await akd"
	awaitApprover   action = "await approver"
	awaitNode       action = "await node"
	probeNode       action = "probe node"
)

// step is one line of what a user sees, and what is done meanwhile.
type step struct {
	name    string
	action  action
	side    kubeclient.Side
	objects []*unstructured.Unstructured
}

// choices are options of install that change its steps.
type choices struct {
	dryRun   bool // the servers'
	wait     bool
	takeOver bool
	approver bool   // there is one
	server   string // the local API server's address, to be recorded
}

// installPlan is what install does.
type installPlan struct {
	changes []step
	checks  []step // that what was installed works
}

// planInstall orders an installation. The name is claimed first. Rights come with the policies that confine
// them; nobody gets a credential before the policies are in force; akd comes when
// all that it needs is there. recorded are the kinds that each side's record has.
func planInstall(values manifests.Values, recorded map[kubeclient.Side][]schema.GroupKind, chosen choices) (installPlan, error) {
	host, peer := kubeclient.Local, kubeclient.Remote
	if values.RunIn == manifests.RunInRemote {
		host, peer = peer, host
	}
	objects := map[kubeclient.Side][]*unstructured.Unstructured{}
	for _, side := range []kubeclient.Side{kubeclient.Local, kubeclient.Remote} {
		rendered, err := render(side, values)
		if err != nil {
			return installPlan{}, err
		}
		objects[side] = withRecord(rendered, recorded[side])
	}
	rest, classes := withoutClasses(objects[kubeclient.Local])
	objects[kubeclient.Local] = rest
	annotate(objects[kubeclient.Remote], contract.AnnotationLocalServer, chosen.server)
	var plan installPlan
	if !chosen.dryRun {
		if chosen.takeOver {
			plan.changes = append(plan.changes, step{name: "take over", action: takeOver, side: kubeclient.Remote})
		}
		first := afterAccount(objects[kubeclient.Remote])
		plan.changes = append(plan.changes,
			step{name: "node's name", action: claimName, side: kubeclient.Remote, objects: objects[kubeclient.Remote][:first]})
		objects[kubeclient.Remote] = objects[kubeclient.Remote][first:]
	}
	needed, akd := beforeDeployment(objects[host])
	plan.changes = append(plan.changes,
		step{name: string(peer) + " rights", action: applyObjects, side: peer, objects: objects[peer]},
		step{name: string(host) + " rights", action: applyObjects, side: host, objects: needed},
	)
	if !chosen.dryRun {
		plan.changes = append(plan.changes,
			step{name: "remote policies in force", action: awaitPolicies, side: kubeclient.Remote},
			step{name: "record of namespaces", action: seedRecord, side: kubeclient.Remote},
		)
		if values.Storage.Enabled {
			plan.changes = append(plan.changes, step{name: "local policies in force", action: awaitVolumes, side: kubeclient.Local})
		}
		if metadata := &values.NamespaceMetadata; len(metadata.Labels)+len(metadata.Annotations) > 0 {
			plan.changes = append(plan.changes,
				step{name: "labels and annotations of namespaces", action: markNamespaces, side: kubeclient.Remote})
		}
		plan.changes = append(plan.changes, step{name: "credential", action: storeCredential, side: host})
	}
	if len(classes) > 0 {
		plan.changes = append(plan.changes,
			step{name: "local storage classes", action: createClasses, side: kubeclient.Local, objects: classes})
	}
	plan.changes = append(plan.changes, step{name: string(host) + " akd", action: applyObjects, side: host, objects: akd})
	if !values.ApproveCertificates && !chosen.dryRun && chosen.approver {
		plan.changes = append(plan.changes, step{name: "no approver of certificates", action: removeApprover, side: kubeclient.Local})
	}
	if chosen.wait && !chosen.dryRun {
		plan.checks = planChecks(values, host)
	}
	return plan, nil
}

// planChecks are what shows that an installation works.
func planChecks(values manifests.Values, host kubeclient.Side) []step {
	checks := []step{
		{name: "akd runs", action: awaitAKD, side: host},
		{name: "node is ready", action: awaitNode, side: kubeclient.Local},
		{name: "probe pod runs", action: probeNode, side: kubeclient.Local},
	}
	if values.ApproveCertificates {
		checks = append(checks, step{name: "approver runs", action: awaitApprover, side: kubeclient.Local})
	}
	return checks
}

// withoutClasses takes out the StorageClasses, which are created and never changed.
func withoutClasses(objects []*unstructured.Unstructured) (rest, classes []*unstructured.Unstructured) {
	for _, object := range objects {
		if object.GetKind() == "StorageClass" {
			classes = append(classes, object)
		} else {
			rest = append(rest, object)
		}
	}
	return rest, classes
}

// render returns the manifests of one side.
func render(side kubeclient.Side, values manifests.Values) ([]*unstructured.Unstructured, error) {
	renderSide := manifests.Local
	if side == kubeclient.Remote {
		renderSide = manifests.Remote
	}
	objects, err := renderSide(values)
	return objects, failure.Usage(err)
}

// beforeDeployment splits what akd needs from akd itself and what follows.
func beforeDeployment(objects []*unstructured.Unstructured) (needed, akd []*unstructured.Unstructured) {
	at := slices.IndexFunc(objects, func(object *unstructured.Unstructured) bool { return object.GetKind() == "Deployment" })
	if at < 0 {
		return objects, nil
	}
	return objects[:at], objects[at:]
}
