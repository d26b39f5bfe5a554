package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// fieldManager is who kubectl actual is in managedFields.
const fieldManager = "kubectl-actual"

// counts are what became of objects.
type counts struct{ created, changed, unchanged int }

// String says it in words.
func (c *counts) String() string {
	return fmt.Sprintf("%d created, %d changed, %d unchanged", c.created, c.changed, c.unchanged)
}

func (c *counts) count(existed, same bool) {
	switch {
	case !existed:
		c.created++
	case same:
		c.unchanged++
	default:
		c.changed++
	}
}

func (c *counts) add(more counts) {
	c.created += more.created
	c.changed += more.changed
	c.unchanged += more.unchanged
}

// applier applies objects by server-side apply, one after the other.
type applier struct {
	cluster *cluster
	force   bool
	dryRun  bool // the server's
	counts  counts
}

// apply stops at the first object that is refused: those before it stay, and a
// rerun finds them unchanged.
func (a *applier) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		if err := a.applyOne(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) applyOne(ctx context.Context, object *unstructured.Unstructured) error {
	title := a.cluster.side + " " + title(object)
	resource, err := a.cluster.resource(object)
	if err != nil {
		return err
	}
	before, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		before = nil
	} else if err != nil {
		return fmt.Errorf("read %s: %w", title, err)
	}
	if by := foreignManager(before); by != "" {
		return fmt.Errorf("%s is managed by %s: remove it there, or choose another node name", title, by)
	}
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("apply %s: %w", title, err)
	}
	options := metav1.PatchOptions{FieldManager: fieldManager, Force: &a.force}
	if a.dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	after, err := resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, options)
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("%s: %s: take its fields over with --force-conflicts, or undo the other's change", title, conflicts(err))
	case a.dryRun && apierrors.IsNotFound(err):
		a.counts.count(false, false) // its namespace is not there yet
		return nil
	case err != nil:
		return fmt.Errorf("apply %s: %w", title, err)
	}
	a.counts.count(before != nil, before != nil && same(object, before, after))
	return nil
}

// same reports whether applying an object changed nothing: neither what it says
// nor which fields are ours. Others write to it as well: the API server stores
// some kinds anew for the same content, and akd its lease and its record.
func same(applied, before, after *unstructured.Unstructured) bool {
	return ownFields(before) == ownFields(after) && equality.Semantic.DeepEqual(said(before.Object, applied.Object), said(after.Object, applied.Object))
}

// said is the part of a value that has the shape of what was applied. A list
// that others have added to counts whole.
func said(value, applied any) any {
	switch applied := applied.(type) {
	case map[string]any:
		object, _ := value.(map[string]any)
		part := map[string]any{}
		for key := range applied {
			if field, ok := object[key]; ok {
				part[key] = said(field, applied[key])
			}
		}
		return part
	case []any:
		list, _ := value.([]any)
		if len(list) != len(applied) {
			return value
		}
		part := make([]any, len(list))
		for i := range list {
			part[i] = said(list[i], applied[i])
		}
		return part
	default:
		return value
	}
}

func ownFields(object *unstructured.Unstructured) string {
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == fieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.FieldsV1 != nil {
			return entry.FieldsV1.String()
		}
	}
	return ""
}

// foreignManager names the installer that an object belongs to, if not to us.
func foreignManager(object *unstructured.Unstructured) string {
	if object == nil {
		return ""
	}
	if release := object.GetAnnotations()["meta.helm.sh/release-name"]; release != "" {
		return "Helm, release " + release
	}
	if by := object.GetLabels()["app.kubernetes.io/managed-by"]; by != fieldManager {
		return by
	}
	return ""
}

// conflicts says who else manages which fields.
func conflicts(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return err.Error()
	}
	var found []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			found = append(found, cause.Field+" ("+cause.Message+")")
		}
	}
	if len(found) == 0 {
		return err.Error()
	}
	return strings.Join(found, ", ")
}

// resource finds an object's place in the API.
func (c *cluster) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, fmt.Errorf("%s cluster %s has no %s %s: %w", c.side, c.version, kind.GroupVersion(), kind.Kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return c.dynamic.Resource(mapping.Resource), nil
}

// title is how a message names an object.
func title(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + strings.TrimPrefix(object.GetNamespace()+"/"+object.GetName(), "/")
}

// beforeDeployment splits what akd needs from akd itself and what follows.
func beforeDeployment(objects []*unstructured.Unstructured) (needed, akd []*unstructured.Unstructured) {
	at := slices.IndexFunc(objects, func(object *unstructured.Unstructured) bool { return object.GetKind() == "Deployment" })
	if at < 0 {
		return objects, nil
	}
	return objects[:at], objects[at:]
}
