package images

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of the index in a layout. containerd reads the first one; the
// second is in the specification, and skopeo reads it:
// https://github.com/opencontainers/image-spec/blob/main/annotations.md
const (
	nameAnnotation = "io.containerd.image.name"
	tagAnnotation  = "org.opencontainers.image.ref.name"
)

// Index is one image for several platforms.
type Index struct {
	// Tag is the name of the image, with registry.
	Tag string
	// Images by platform, such as linux/arm64. Their own tags are ignored.
	Images map[string]Spec
	// Labels of each image are annotations of it and of the index as well.
	Labels map[string]string
}

// Layout writes the image as an OCI layout in a tar archive, for `clusters
// load-image`, `ctr images import` and skopeo. The same index and files make the
// same bytes.
func Layout(file string, index Index) error {
	tag, err := name.NewTag(index.Tag, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("name an image: %w", err)
	}
	manifests, b := v1.ImageIndex(empty.Index), blobs{}
	for _, platform := range slices.Sorted(maps.Keys(index.Images)) {
		parsed, err := v1.ParsePlatform(platform)
		if err != nil {
			return fmt.Errorf("make image %s for %s: %w", tag, platform, err)
		}
		image, err := index.image(index.Images[platform], *parsed)
		if err != nil {
			return fmt.Errorf("make image %s for %s: %w", tag, platform, err)
		}
		if err := b.addImage(image); err != nil {
			return fmt.Errorf("make image %s for %s: %w", tag, platform, err)
		}
		manifests = mutate.AppendManifests(manifests, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: parsed}})
	}
	annotated, ok := mutate.Annotations(manifests, index.Labels).(v1.ImageIndex)
	if !ok {
		return errors.New("annotate an image index: it is none any more")
	}
	if err := b.addManifest(annotated); err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	descriptor, err := partial.Descriptor(annotated)
	if err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	descriptor.Annotations = map[string]string{nameAnnotation: tag.Name(), tagAnnotation: tag.TagStr()}
	if err := b.write(file, *descriptor); err != nil {
		return fmt.Errorf("write image %s: %w", file, err)
	}
	return nil
}

// image is the index's image for one platform, with the types and the
// compression that registries hold.
func (i Index) image(spec Spec, platform v1.Platform) (v1.Image, error) {
	layers, err := spec.layers(func(content []byte) (v1.Layer, error) {
		opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer),
			tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
	})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, layers...); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config = spec.config()
	config.Config.Labels = i.Labels
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, i.Labels).(v1.Image)
	if !ok {
		return nil, errors.New("annotate an image: it is none any more")
	}
	return annotated, nil
}

// blobs are the contents of a layout by their digests.
type blobs map[v1.Hash][]byte

func (b blobs) addImage(image v1.Image) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := b.addLayer(layer); err != nil {
			return err
		}
	}
	config, err := image.ConfigName()
	if err != nil {
		return err
	}
	if b[config], err = image.RawConfigFile(); err != nil {
		return err
	}
	return b.addManifest(image)
}

func (b blobs) addLayer(layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	b[digest], err = io.ReadAll(content)
	return err
}

func (b blobs) addManifest(manifest partial.Describable) error {
	raw, ok := manifest.(partial.WithRawManifest)
	if !ok {
		return fmt.Errorf("%T has no manifest", manifest)
	}
	digest, err := manifest.Digest()
	if err != nil {
		return err
	}
	b[digest], err = raw.RawManifest()
	return err
}

// write writes the layout, whose one entry is the descriptor's.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func (b blobs) write(file string, entry v1.Descriptor) error {
	manifest, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{entry}})
	if err != nil {
		return err
	}
	files := map[string]File{
		"/oci-layout": {Content: []byte(`{"imageLayoutVersion":"1.0.0"}`), Mode: 0o644},
		"/index.json": {Content: manifest, Mode: 0o644},
	}
	for digest, content := range b {
		files[path.Join("/blobs", digest.Algorithm, digest.Hex)] = File{Content: content, Mode: 0o644}
	}
	archive, err := Spec{Files: files}.tar()
	if err != nil {
		return err
	}
	const readable = 0o644
	return os.WriteFile(file, archive, readable)
}
