package podsecret

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// The API server checks that the proof is signed by its own key, and admits
// only these types.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/certificates/validation/validation.go
func TestNewKey(t *testing.T) {
	for kind, algorithm := range map[string]x509.PublicKeyAlgorithm{
		"RSA3072": x509.RSA, "ECDSAP256": x509.ECDSA, "ECDSAP384": x509.ECDSA, "ECDSAP521": x509.ECDSA, "ED25519": x509.Ed25519,
	} {
		t.Run(kind, func(t *testing.T) {
			made := newKey(kind)
			if made.err != nil {
				t.Fatal(made.err)
			}
			block, _ := pem.Decode([]byte(made.private))
			if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				t.Errorf("the key: %v", err)
			}
			request, err := x509.ParseCertificateRequest(made.proof)
			if err != nil {
				t.Fatal(err)
			}
			if err := request.CheckSignature(); err != nil || request.PublicKeyAlgorithm != algorithm {
				t.Errorf("the proof is of %s: %v, want %s", request.PublicKeyAlgorithm, err, algorithm)
			}
		})
	}
	if newKey("DSA").err == nil {
		t.Error("DSA: got no error")
	}
}

// keyTest makes keys that appear only when the test says so.
type keyTest struct {
	maker  *keyMaker
	finish chan struct{} // each receive lets one RSA key finish

	mu    sync.Mutex
	ready []string
}

func newKeyTest(t *testing.T) *keyTest {
	t.Helper()
	k := &keyTest{finish: make(chan struct{})}
	k.maker = newKeyMaker(func(namespace, pod string) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ready = append(k.ready, namespace+"/"+pod)
	})
	k.maker.generate = func(kind string) madeKey {
		if kind == "RSA4096" {
			<-k.finish
		}
		return madeKey{private: kind}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { k.maker.Run(ctx); close(done) }()
	t.Cleanup(func() {
		stop()
		close(k.finish)
		<-done
	})
	return k
}

// want asks for a key, without waiting for it, and reports whether it is there.
func (k *keyTest) want(namespace, pod, kind, certificate string) bool {
	uid := types.UID(namespace + "/" + pod)
	_, made := k.maker.key(keyJob{pod: uid, namespace: namespace, name: pod, kind: kind}, certificate)
	return made
}

func (k *keyTest) check(t *testing.T, event string, want ...string) {
	t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if diff := cmp.Diff(want, k.ready); diff != "" {
		t.Errorf("pods with a key %s (-want +got):\n%s", event, diff)
	}
}

// An RSA key of 4096 bits takes seconds. Workers made them: a few pods with
// several such certificates stopped every pod of the node.
func TestSlowKeysDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeyTest(t)
		for _, certificate := range []string{"a", "b", "c"} {
			if k.want("greedy", "one", "RSA4096", certificate) {
				t.Error("the worker has waited for a key")
			}
		}
		synctest.Wait()
		k.want("other", "fast", "ECDSAP256", "a")
		k.check(t, "while an RSA key is being made", "other/fast")
		if !k.want("other", "fast", "ECDSAP256", "a") {
			t.Error("the fast key is not there")
		}
		k.want("other", "slow", "RSA4096", "a")
		k.finish <- struct{}{}
		k.check(t, "after the first RSA key", "other/fast", "greedy/one")
		k.finish <- struct{}{}
		k.check(t, "after the second one, in turn", "other/fast", "greedy/one", "other/slow")
	})
}

// The keys of a pod that is gone are not made. Those of a pod whose request
// failed are not made again.
func TestKeysAreKeptAndForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeyTest(t)
		k.want("ns", "here", "RSA4096", "a")
		synctest.Wait()
		k.want("ns", "gone", "RSA4096", "a")
		k.want("ns", "here", "RSA4096", "b")
		k.maker.forget("ns/gone")
		k.finish <- struct{}{}
		k.finish <- struct{}{}
		k.check(t, "after two keys", "ns/here", "ns/here")
		for range 2 {
			if !k.want("ns", "here", "RSA4096", "a") {
				t.Error("a key is made again before it was used")
			}
		}
		k.maker.drop("ns/here", "a")
		if k.want("ns", "here", "RSA4096", "a") {
			t.Error("the next certificate has the same key")
		}
	})
}
