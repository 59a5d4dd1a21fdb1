package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image is an image for one or more platforms.
type image struct {
	name  string // the full name, as a node looks it up
	index v1.ImageIndex
}

// built describes an image for one platform in an archive.
type built struct {
	Name, Platform string
	Size           int64 // bytes to fetch: the configuration and all layers
	Digest         v1.Hash
}

// add adds the image for a platform, with the given layers from bottom to top.
func (i *image) add(platform v1.Platform, config v1.Config, layers ...v1.Layer) error {
	made := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.AppendLayers(made, layers...)
	if err != nil {
		return fmt.Errorf("append layers: %w", err)
	}
	about, err := made.ConfigFile()
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	about = about.DeepCopy()
	about.OS, about.Architecture, about.Config = platform.OS, platform.Architecture, config
	made, err = mutate.ConfigFile(made, about)
	if err != nil {
		return fmt.Errorf("set the configuration: %w", err)
	}
	if i.index == nil {
		i.index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	}
	i.index = mutate.AppendManifests(i.index, mutate.IndexAddendum{
		Add: made, Descriptor: v1.Descriptor{Platform: &platform},
	})
	return nil
}

// describe returns a description of the image for each platform.
func (i *image) describe() ([]built, error) {
	index, err := i.index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	var all []built
	for _, m := range index.Manifests {
		made, err := i.index.Image(m.Digest)
		if err != nil {
			return nil, fmt.Errorf("read an image: %w", err)
		}
		manifest, err := made.Manifest()
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		size := manifest.Config.Size
		for _, l := range manifest.Layers {
			size += l.Size
		}
		all = append(all, built{i.name, m.Platform.String(), size, m.Digest})
	}
	return all, nil
}

// write writes images to one OCI archive.
func write(archive string, images ...image) ([]built, error) {
	dir, err := os.MkdirTemp("", "eventbooking-layout-")
	if err != nil {
		return nil, fmt.Errorf("create a directory for the layout: %w", err)
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("write the layout: %w", err)
	}
	var all []built
	for _, i := range images {
		// containerd reads the name from the first annotation, and skopeo from the second.
		err := path.AppendIndex(i.index, layout.WithAnnotations(map[string]string{
			"io.containerd.image.name":          i.name,
			"org.opencontainers.image.ref.name": "latest",
		}))
		if err != nil {
			return nil, fmt.Errorf("write the layout: %w", err)
		}
		b, err := i.describe()
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	files, err := tree(dir, "")
	if err != nil {
		return nil, err
	}
	for i := range files {
		files[i].mode = 0o644
	}
	// A temporary file is renamed, so that an incomplete archive never has the name.
	out, err := os.CreateTemp(filepath.Dir(archive), filepath.Base(archive)+".")
	if err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	defer os.Remove(out.Name())
	if err := errors.Join(pack(out, files), out.Chmod(0o644), out.Close()); err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	if err := os.Rename(out.Name(), archive); err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	return all, nil
}
