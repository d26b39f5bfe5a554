package kubeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

// Counts are how many objects were created, changed and found unchanged.
type Counts struct{ Created, Changed, Unchanged int }

// String implements fmt.Stringer.
func (c Counts) String() string {
	return fmt.Sprintf("%d created, %d changed, %d unchanged", c.Created, c.Changed, c.Unchanged)
}

// Add returns the sum.
func (c Counts) Add(more Counts) Counts {
	return Counts{c.Created + more.Created, c.Changed + more.Changed, c.Unchanged + more.Unchanged}
}

// ApplyOptions are those of server-side apply.
type ApplyOptions struct {
	// Force takes over fields that others manage.
	Force bool
	// DryRun has the server check the objects and store none.
	DryRun bool
}

// Apply applies objects by server-side apply, one after the other. It stops at
// the first one that is refused: those before it stay, and a rerun finds them
// unchanged.
func (c *Cluster) Apply(ctx context.Context, objects []*unstructured.Unstructured, options ApplyOptions) (total Counts, err error) {
	for _, object := range objects {
		counts, err := c.apply(ctx, object, options)
		if err != nil {
			return total, err
		}
		total = total.Add(counts)
	}
	return total, nil
}

func (c *Cluster) apply(ctx context.Context, object *unstructured.Unstructured, options ApplyOptions) (Counts, error) {
	title := string(c.Side) + " " + Title(object)
	resource, err := c.Resource(object)
	if err != nil {
		return Counts{}, err
	}
	before, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		before = nil
	} else if err != nil {
		return Counts{}, fmt.Errorf("read %s: %w", title, err)
	}
	if by := ForeignManager(before); by != "" {
		return Counts{}, failure.Hintf(fmt.Errorf("%s is managed by %s", title, by), "remove it there, or choose another node name")
	}
	body, err := json.Marshal(object)
	if err != nil {
		return Counts{}, fmt.Errorf("apply %s: %w", title, err)
	}
	patch := metav1.PatchOptions{FieldManager: FieldManager, Force: &options.Force}
	if options.DryRun {
		patch.DryRun = []string{metav1.DryRunAll}
	}
	after, err := resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, patch)
	switch {
	case apierrors.IsConflict(err):
		return Counts{}, failure.Hintf(fmt.Errorf("%s: %s", title, conflicts(err)),
			"take its fields over with --force-conflicts, or undo the other manager's change")
	case options.DryRun && apierrors.IsNotFound(err):
		return Counts{Created: 1}, nil // its namespace does not exist yet
	case err != nil:
		return Counts{}, fmt.Errorf("apply %s: %w", title, err)
	case before == nil:
		return Counts{Created: 1}, nil
	case unchanged(object, before, after):
		return Counts{Unchanged: 1}, nil
	default:
		return Counts{Changed: 1}, nil
	}
}

// unchanged reports whether applying an object changed nothing: neither its
// values nor which fields are ours. Others write to it as well: the API server
// stores some kinds anew for the same content, and akd its lease and its record.
func unchanged(applied, before, after *unstructured.Unstructured) bool {
	return ownFields(before) == ownFields(after) &&
		equality.Semantic.DeepEqual(appliedSubset(before.Object, applied.Object), appliedSubset(after.Object, applied.Object))
}

// appliedSubset is the part of a value that has the shape of what was applied. A
// list that others have added to counts whole.
func appliedSubset(value, applied any) any {
	switch applied := applied.(type) {
	case map[string]any:
		object, _ := value.(map[string]any)
		part := map[string]any{}
		for key := range applied {
			if field, ok := object[key]; ok {
				part[key] = appliedSubset(field, applied[key])
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
			part[i] = appliedSubset(list[i], applied[i])
		}
		return part
	default:
		return value
	}
}

func ownFields(object *unstructured.Unstructured) string {
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.FieldsV1 != nil {
			return entry.FieldsV1.String()
		}
	}
	return ""
}

// ForeignManager names the installer that an object belongs to, if not to us.
func ForeignManager(object *unstructured.Unstructured) string {
	if object == nil {
		return ""
	}
	if release := object.GetAnnotations()["meta.helm.sh/release-name"]; release != "" {
		return "Helm, release " + release
	}
	if by := object.GetLabels()[LabelManagedBy]; by != FieldManager {
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

// Title is how a message names an object.
func Title(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + strings.TrimPrefix(object.GetNamespace()+"/"+object.GetName(), "/")
}
