package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/images"
)

// buildImage makes an image of files of this machine, for programs that the
// nodes do not have: there is no registry to pull them from.
func (a *app) buildImage() *cobra.Command {
	spec := images.Spec{Files: map[string]images.File{}}
	var tag string
	var added []string
	cmd := &cobra.Command{
		Use:   "build-image FILE --tag NAME --add SOURCE:TARGET...",
		Short: "Make an image (docker-archive) of files of this machine, for load-image",
		Example: `  clusters build-image crossplane.tar --tag docker.io/crossplane/crossplane:v2.1.0 \
    --add bin/crossplane:/bin/crossplane --add crds:/crds --entrypoint crossplane`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if tag == "" || len(added) == 0 {
				return usageError{errors.New("give --tag and --add: see clusters build-image --help")}
			}
			for _, pair := range added {
				source, target, ok := strings.Cut(pair, ":")
				if !ok || source == "" || !path.IsAbs(target) {
					return usageError{fmt.Errorf("--add %q: give SOURCE:TARGET with an absolute path in the image as TARGET", pair)}
				}
				if err := addFiles(&spec, source, target); err != nil {
					return usageError{fmt.Errorf("--add %s: %w", pair, err)}
				}
			}
			spec.Tags = []string{tag}
			return images.Archive(args[0], spec)
		},
	}
	cmd.Flags().StringVar(&tag, "tag", "", "name of the image, with registry and tag")
	cmd.Flags().StringArrayVar(&added, "add", nil, "file or folder of this machine and its path in the image; may be given more than once")
	cmd.Flags().StringSliceVar(&spec.Entrypoint, "entrypoint", nil, "program and arguments that the image runs, with commas between")
	cmd.Flags().StringVar(&spec.User, "user", "", "user or user:group of its processes; root unless given")
	return cmd
}

// addFiles adds a file, or every file of a folder and the folders in it.
func addFiles(spec *images.Spec, source, target string) error {
	return filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		spec.Files[path.Join(target, filepath.ToSlash(below))] = images.File{Source: file, Mode: int64(info.Mode().Perm())}
		return nil
	})
}
