package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// storageFiles are what the storage suite adds to the clusters, to akd and to the
// tests.
//
//go:embed storage
var storageFiles embed.FS

// storageFile puts a file of the storage suite into the folder of results, and
// returns its path.
func (env *environment) storageFile(name string) (string, error) {
	content, err := storageFiles.ReadFile(path.Join("storage", name))
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	file, err := filepath.Abs(filepath.Join(env.out, "storage-"+name))
	if err != nil {
		return "", fmt.Errorf("find the folder of results: %w", err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return file, nil
}

// offerStorage makes the class csi the default of both clusters: in the remote one it
// is the storage driver's, in the local one akd's. Many specs take the default.
func (env *environment) offerStorage(ctx context.Context) error {
	_, err := env.command(ctx, "kubectl", "remote", "annotate", "--overwrite", "storageclass", "csi",
		"storageclass.kubernetes.io/is-default-class=true")
	if err != nil || env.direct {
		return err
	}
	file, err := env.storageFile("classes.yaml")
	if err != nil {
		return err
	}
	_, err = env.command(ctx, "kubectl", "local", "apply", "-f", file)
	return err
}
