package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// finder finds the pods and claims that arguments and files name, as kubectl reads them.
type finder struct {
	flags     *genericclioptions.ConfigFlags
	cluster   *kubeclient.Cluster
	namespace string
}

// found is what was asked for.
type found struct {
	pods   []corev1.Pod
	claims []corev1.PersistentVolumeClaim
}

// find returns the pods that are named, or belong to what is named, and the claims that
// are named. missing says what does not exist; a mistake in the arguments is an error.
func (f *finder) find(ctx context.Context, args, files []string) (all found, missing, err error) {
	infos, problems := f.named(args, files)
	for _, info := range infos {
		more, err := f.of(ctx, info)
		switch {
		case apierrors.IsNotFound(err):
			problems = append(problems, err)
		case err != nil:
			return found{}, nil, err
		default:
			all.pods, all.claims = append(all.pods, more.pods...), append(all.claims, more.claims...)
		}
	}
	for _, problem := range problems {
		if failure.IsUsage(problem) {
			return found{}, nil, problem
		}
	}
	return all, errors.Join(problems...), nil
}

// named returns the objects that the arguments or files name, and what keeps
// others from being found.
func (f *finder) named(args, files []string) (infos []*resource.Info, problems []error) {
	if len(files) > 0 {
		infos, err := f.builder().FilenameParam(false, &resource.FilenameOptions{Filenames: files}).Do().Infos()
		if err != nil {
			problems = append(problems, err)
		}
		return infos, problems
	}
	for _, arg := range args {
		name := arg
		if !strings.Contains(name, "/") {
			name = "pod/" + name
		}
		if err := f.checkType(name); err != nil {
			problems = append(problems, err)
			continue
		}
		more, err := f.builder().ResourceTypeOrNameArgs(false, name).Do().Infos()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		infos = append(infos, more...)
	}
	return infos, problems
}

// checkType refuses a TYPE/NAME whose type the cluster does not have. It looks
// the type up as the builder does, which reports an unknown one in words only.
// https://github.com/kubernetes/cli-runtime/blob/v0.37.1/pkg/resource/builder.go#L766
func (f *finder) checkType(typeAndName string) error {
	name, _, _ := strings.Cut(typeAndName, "/")
	mapper, err := f.flags.ToRESTMapper()
	if err != nil {
		return err
	}
	fullResource, groupResource := schema.ParseResourceArg(name)
	fullKind, groupKind := schema.ParseKindArg(name)
	_, err = mapper.KindFor(groupResource.WithVersion(""))
	if meta.IsNoMatchError(err) && fullResource != nil {
		_, err = mapper.KindFor(*fullResource)
	}
	if meta.IsNoMatchError(err) {
		_, err = mapper.RESTMapping(groupKind)
	}
	if meta.IsNoMatchError(err) && fullKind != nil {
		_, err = mapper.RESTMapping(fullKind.GroupKind(), fullKind.Version)
	}
	if meta.IsNoMatchError(err) {
		err = failure.Usagef("the local cluster has no resource type %q", name)
		return failure.Hintf(err, "list its resource types: %s", f.cluster.Commands.Kubectl(kubeclient.Local, "api-resources"))
	}
	return nil // what the mapper cannot tell, the builder reports
}

func (f *finder) builder() *resource.Builder {
	return resource.NewBuilder(f.flags).Unstructured().NamespaceParam(f.namespace).DefaultNamespace().ContinueOnError().Flatten()
}

// of returns the pods that an object is or owns, or the claim that it is.
func (f *finder) of(ctx context.Context, info *resource.Info) (found, error) {
	object, ok := info.Object.(*unstructured.Unstructured)
	if ok && object.GroupVersionKind().GroupKind() == corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim").GroupKind() {
		claim, err := f.cluster.Client.CoreV1().PersistentVolumeClaims(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
		if err != nil {
			return found{}, err
		}
		return found{claims: []corev1.PersistentVolumeClaim{*claim}}, nil
	}
	pods, err := f.podsOf(ctx, info)
	return found{pods: pods}, err
}

// podsOf returns the pods that an object is or owns.
func (f *finder) podsOf(ctx context.Context, info *resource.Info) ([]corev1.Pod, error) {
	object, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%s: unexpected %T", info.ObjectName(), info.Object)
	}
	switch kind := object.GetKind(); kind {
	case "Pod":
		pod, err := f.pod(ctx, info, object)
		if err != nil {
			return nil, err
		}
		return []corev1.Pod{*pod}, nil
	case "Namespace":
		return listPods(ctx, f.cluster, info.Name, metav1.ListOptions{})
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		selector, err := selectorOf(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", info.ObjectName(), err)
		}
		return listPods(ctx, f.cluster, info.Namespace, metav1.ListOptions{LabelSelector: selector})
	default:
		err := failure.Usagef("%s/%s is neither a pod, a workload nor a claim", strings.ToLower(kind), info.Name)
		return nil, failure.Hintf(err, "give a pod, a workload such as deploy/%s, a claim as pvc/NAME, or a namespace as ns/NAME", info.Name)
	}
}

// pod returns a pod as the cluster has it.
func (f *finder) pod(ctx context.Context, info *resource.Info, object *unstructured.Unstructured) (*corev1.Pod, error) {
	if object.GetUID() == "" { // from a file
		return f.cluster.Client.CoreV1().Pods(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pod); err != nil {
		return nil, fmt.Errorf("%s: %w", info.ObjectName(), err)
	}
	return &pod, nil
}

// selectorOf returns the selector of a workload's pods.
func selectorOf(workload *unstructured.Unstructured) (string, error) {
	if workload.GetKind() == "ReplicationController" {
		matched, _, err := unstructured.NestedStringMap(workload.Object, "spec", "selector")
		return labels.Set(matched).String(), err
	}
	content, _, err := unstructured.NestedMap(workload.Object, "spec", "selector")
	if err != nil {
		return "", err
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &selector); err != nil {
		return "", err
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", err
	}
	return parsed.String(), nil
}
