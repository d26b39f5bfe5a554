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

// forPlatform is what stands for the platform, such as linux/arm64, in a file's
// path on this machine.
const forPlatform = "{platform}"

// imageFlags say what an image is made of.
type imageFlags struct {
	tag        string
	platforms  []string
	added      []string
	labels     map[string]string
	entrypoint []string
	user       string
}

// buildImage makes an image of files of this machine, for programs that the
// nodes do not have: there is no registry to pull them from.
func (a *app) buildImage() *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:   "build-image FILE --tag NAME --add SOURCE:TARGET...",
		Short: "Make an image of files of this machine, for load-image",
		Long: `Make an image of files of this machine, for load-image.

It is a docker-archive for this machine's processor. With --platform it is an
OCI layout of an image index, for registries as well: {platform} in a SOURCE
stands for each of the platforms, such as linux/arm64.`,
		Example: `  clusters build-image crossplane.tar --tag docker.io/crossplane/crossplane:v2.1.0 \
    --add bin/crossplane:/bin/crossplane --add crds:/crds --entrypoint crossplane
  clusters build-image akd.tar --tag ghcr.io/actual-kubelets/akd:v1.2.3 --platform linux/amd64,linux/arm64 \
    --add dist/{platform}/akd:/akd --entrypoint /akd --user 65532:65532`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return f.build(args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.tag, "tag", "", "name of the image, with registry and tag")
	flags.StringSliceVar(&f.platforms, "platform", nil, "platforms of the image, which is an OCI layout then")
	flags.StringArrayVar(&f.added, "add", nil, "file or folder of this machine and its path in the image; may be given more than once")
	flags.StringToStringVar(&f.labels, "label", nil, "labels and annotations of the image, with --platform; may be given more than once")
	flags.StringSliceVar(&f.entrypoint, "entrypoint", nil, "program and arguments that the image runs, with commas between")
	flags.StringVar(&f.user, "user", "", "user or user:group of its processes; root unless given")
	return cmd
}

func (f *imageFlags) build(file string) error {
	if f.tag == "" || len(f.added) == 0 {
		return usageError{errors.New("give --tag and --add: see clusters build-image --help")}
	}
	if len(f.platforms) == 0 {
		if len(f.labels) > 0 {
			return usageError{errors.New("--label is for images with --platform")}
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
		// Not the file's own mode, which comes of its maker's umask: the image's
		// user reads every file, and images of the same files are the same.
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		spec.Files[path.Join(target, filepath.ToSlash(below))] = images.File{Source: file, Mode: mode}
		return nil
	})
}
