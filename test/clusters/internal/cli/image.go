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

// forPlatform stands for the platform, such as linux/arm64, in a file's path on
// this machine.
const forPlatform = "{platform}"

// imageFlags describe an image.
type imageFlags struct {
	tag        string
	platforms  []string
	added      []string
	labels     map[string]string
	entrypoint []string
	user       string
}

// buildImage builds an image from files of this machine, because there is no
// registry from which nodes could pull.
func (a *app) buildImage() *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:   "build-image FILE --tag NAME --add SOURCE:TARGET...",
		Short: "Build an image from files of this machine, for load-image",
		Long: `Build an image from files of this machine, for load-image.

By default FILE is a docker-archive for this machine's processor. With --platform
it is an OCI layout with an image index, which registries accept as well. In a
SOURCE, {platform} stands for each platform, such as linux/arm64.`,
		Example: `  clusters build-image crossplane.tar --tag docker.io/crossplane/crossplane:v2.1.0 \
    --add bin/crossplane:/bin/crossplane --add crds:/crds --entrypoint crossplane
  clusters build-image akd.tar --tag ghcr.io/actual-kubelets/akd:v1.2.3 --platform linux/amd64,linux/arm64 \
    --add dist/{platform}/akd:/akd --entrypoint /akd --user 65532:65532`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return f.build(args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.tag, "tag", "", "name of the image, with registry and tag")
	flags.StringSliceVar(&f.platforms, "platform", nil, "platforms of the image, such as linux/arm64; makes an OCI layout")
	flags.StringArrayVar(&f.added, "add", nil, "file or folder of this machine, and its path in the image; repeatable")
	flags.StringToStringVar(&f.labels, "label", nil, "label and annotation of the image; requires --platform; repeatable")
	flags.StringSliceVar(&f.entrypoint, "entrypoint", nil, "program and arguments that the image runs, separated by commas")
	flags.StringVar(&f.user, "user", "", "user or user:group of its processes (default root)")
	return cmd
}

func (f *imageFlags) build(file string) error {
	if f.tag == "" || len(f.added) == 0 {
		return usageError{errors.New("--tag or --add is missing: give both, as clusters build-image --help shows")}
	}
	if len(f.platforms) == 0 {
		if len(f.labels) > 0 {
			return usageError{errors.New("--label requires --platform: add --platform, or remove --label")}
		}
		spec, err := f.spec("")
		if err != nil {
			return err
		}
		return images.Archive(file, spec)
	}
	index := images.Index{Tag: f.tag, Images: map[string]images.Spec{}, Labels: f.labels}
	for _, platform := range f.platforms {
		var err error
		if index.Images[platform], err = f.spec(platform); err != nil {
			return err
		}
	}
	return images.Layout(file, index)
}

// spec is the image for a platform, or, without one, for this machine.
func (f *imageFlags) spec(platform string) (images.Spec, error) {
	spec := images.Spec{Files: map[string]images.File{}, Entrypoint: f.entrypoint, User: f.user, Tags: []string{f.tag}}
	for _, pair := range f.added {
		source, target, ok := strings.Cut(pair, ":")
		if !ok || source == "" || !path.IsAbs(target) {
			return spec, usageError{fmt.Errorf("--add %q: give SOURCE:TARGET with an absolute path in the image as TARGET", pair)}
		}
		if platform != "" {
			source = strings.ReplaceAll(source, forPlatform, platform)
		}
		if err := addFiles(&spec, source, target); err != nil {
			return spec, usageError{fmt.Errorf("--add %s: %w", pair, err)}
		}
	}
	return spec, nil
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
		// The file's own mode depends on a umask. With fixed modes the image's user
		// can read every file, and the same files make the same image.
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		spec.Files[path.Join(target, filepath.ToSlash(below))] = images.File{Source: file, Mode: mode}
		return nil
	})
}
