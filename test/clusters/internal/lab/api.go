package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
)

// restConfig returns the administrator's access to the cluster called name.
func (l *Lab) restConfig(name string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig(name))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// Client returns the administrator's client of the cluster called name.
func (l *Lab) Client(name string) (kubernetes.Interface, error) {
	config, err := l.restConfig(name)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// waitAPI waits until the API server reports that it is ready.
func (l *Lab) waitAPI(ctx context.Context, c cluster.Cluster) error {
	client, err := l.Client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err = poll(ctx, "the API server", func(ctx context.Context) (bool, error) {
		if err := l.died(c.Component("etcd"), c.Component("kube-apiserver")); err != nil {
			return false, err
		}
		body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err != nil {
			return false, err
		}
		return string(body) == "ok", fmt.Errorf("/readyz says %q", body)
	})
	return l.blame(c.Component("kube-apiserver"), err)
}

// applyManifests creates the cluster's own objects, or corrects them.
func (l *Lab) applyManifests(ctx context.Context, c cluster.Cluster) error {
	manifests, err := c.Manifests()
	if err != nil {
		return err
	}
	config, err := l.restConfig(c.Name)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	apply := applier{
		client: dynamicClient,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		var object unstructured.Unstructured
		err := documents.Decode(&object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("decode manifests: %w", err)
		}
		if err := apply.one(ctx, &object); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

type applier struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func (a applier) one(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	data, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	force := true
	_, err = a.client.Resource(mapping.Resource).Namespace(object.GetNamespace()).
		Patch(ctx, object.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: "clusters", Force: &force})
	return err
}
