//go:build e2e

package e2e

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// shared is the environment of all tests, but for those that start their own.
var shared *env.Env

func TestMain(m *testing.M) {
	keep := flag.Bool("keep", false, "leave the clusters running after the tests")
	flag.Parse()
	code, err := run(m, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, keep bool) (code int, err error) {
	shared, err = env.Up(cmp.Or(os.Getenv("E2E_CLUSTERS_DIR"), filepath.Join("..", "..", ".clusters-e2e")), "--local-path")
	if err != nil {
		return 1, err
	}
	if !keep {
		defer func() { err = errors.Join(err, shared.Down()) }()
	}
	return m.Run(), nil
}
