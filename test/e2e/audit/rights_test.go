package audit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A list that is read wrongly would let rights pass.
func TestRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rights.txt")
	content := `
# A comment.
anywhere get,list pods # and another
own get configmaps NODE,NODE.namespaces
anywhere get /livez
`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	listed := Read(t, "first", file)
	anywhere := map[right]bool{{"get", "pods", ""}: true, {"list", "pods", ""}: true, {"get", "/livez", ""}: true}
	own := map[right]bool{{"get", "configmaps", "first"}: true, {"get", "configmaps", "first.namespaces"}: true}
	if diff := cmp.Diff(Rights{"anywhere": anywhere, "own": own}, listed, cmp.AllowUnexported(right{})); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	if got := len(listed.in("own")); got != len(anywhere)+len(own) {
		t.Errorf("%d rights in a namespace of its own, want %d", got, len(anywhere)+len(own))
	}
	if diff := cmp.Diff(anywhere, listed.in("elsewhere"), cmp.AllowUnexported(right{})); diff != "" {
		t.Errorf("rights elsewhere (-want +got):\n%s", diff)
	}
}
