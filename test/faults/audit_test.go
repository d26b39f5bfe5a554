package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// akd may write in its own namespaces, and deletes and patches what it means and no other.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	own := contract.RemoteNamespace(node, streamed)
	event := func(user, verb, resource, namespace, request string, code string) string {
		return `{"verb":"` + verb + `","user":{"username":"` + user + `"},"objectRef":{"resource":"` + resource + `","namespace":"` + namespace +
			`","name":"x"},"responseStatus":{"code":` + code + `},"requestObject":` + request + "}\n"
	}
	const deletion, patch, nothing = `{"preconditions":{"uid":"1"}}`, `{"metadata":{"uid":"1"}}`, `{}`
	lines := []string{
		event("somebody", "delete", "pods", "default", nothing, "200"),
		event(akdUser, "delete", "pods", own, deletion, "200"),
		event(akdUser, "delete", "pods", own, nothing, "200"),
		event(akdUser, "delete", "pods", "default", nothing, "403"),
		event(akdUser, "patch", "pods", own, patch, "200"),
		event(akdUser, "patch", "pods", own, nothing, "200"),
		event(akdUser, "deletecollection", "secrets", own, nothing, "200"),
		event(akdUser, "create", "configmaps", "default", nothing, "201"),
		`{"verb":"cre{"verb":` + "\n",
		`{"verb":"create","user":`,
	}
	log := &auditLog{side: remote, file: filepath.Join(t.TempDir(), "audit.log")}
	write := func(content string) {
		if err := os.WriteFile(log.file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Join(lines, ""))
	writes, found, err := log.news()
	if err != nil {
		t.Fatal(err)
	}
	if writes != 7 {
		t.Errorf("%d writes, want 7", writes)
	}
	want := []violation{
		{foreign, "akd did delete to remote pods " + own + "/x whatever its UID"},
		{foreign, "akd did patch to remote pods " + own + "/x whatever its UID"},
		{foreign, "akd did deletecollection to remote secrets " + own + "/x"},
		{foreign, "akd did create to remote configmaps default/x, which is not in a namespace of its own"},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	lines[len(lines)-1] = event(akdUser, "create", "pods", own, nothing, "201")
	write(strings.Join(lines, ""))
	if writes, found, err = log.news(); writes != 1 || len(found) > 0 || err != nil {
		t.Errorf("the line that was written since: %d writes, %v, %v; want 1", writes, found, err)
	}
}
