package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is whom the program runs as: nobody that a node knows.
const user = "65532:65532"

// built is an image for one platform.
type built struct {
	platform string
	size     int64 // of all that is to be fetched
	digest   v1.Hash
}

// archive writes the program's images into one OCI archive, and its bill of materials beside it.
func (p program) archive(out string, platforms []*v1.Platform) ([]built, error) {
	scratch, err := os.MkdirTemp("", "eventbooking-image-")
	if err != nil {
		return nil, fmt.Errorf("make a directory to build in: %w", err)
	}
	defer os.RemoveAll(scratch)

	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var all []built
	for i, platform := range platforms {
		binary, err := p.build(scratch, platform)
		if err != nil {
			return nil, err
		}
		materials, err := billOfMaterials(p.name, binary)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			if err := os.WriteFile(filepath.Join(out, p.name+".cdx.json"), materials, 0o644); err != nil {
				return nil, fmt.Errorf("write the bill of materials: %w", err)
			}
		}
		image, err := p.image(platform, binary, materials)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
		b, err := describe(platform, image)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}

	dir := filepath.Join(scratch, "layout")
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("write the layout: %w", err)
	}
	// containerd and skopeo each look for the name somewhere else.
	err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          "eventbooking.local/" + p.name + ":latest",
		"org.opencontainers.image.ref.name": "latest",
	}))
	if err != nil {
		return nil, fmt.Errorf("write the layout: %w", err)
	}
	text, err := tarOf(dir)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, p.name+".tar"), text, 0o644); err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	return all, nil
}

// image has two layers: what all programs share, and the program with its bill of materials.
func (p program) image(platform *v1.Platform, binary string, materials []byte) (v1.Image, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read the binary: %w", err)
	}
	shared, err := layerOf(
		file{"etc/group", []byte("nonroot:x:65532:\n"), 0o644},
		file{"etc/passwd", []byte("nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"), 0o644},
		file{"etc/ssl/certs/ca-certificates.crt", certificates(), 0o644},
	)
	if err != nil {
		return nil, err
	}
	own, err := layerOf(file{p.name, program, 0o755}, file{"sbom.cdx.json", materials, 0o644})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, shared, own)
	if err != nil {
		return nil, fmt.Errorf("append layers: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Config = v1.Config{
		User: user, WorkingDir: "/", Entrypoint: []string{"/" + p.name},
		Labels: map[string]string{"org.opencontainers.image.title": p.name},
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return nil, fmt.Errorf("set the configuration: %w", err)
	}
	return image, nil
}

func describe(platform *v1.Platform, image v1.Image) (built, error) {
	digest, err := image.Digest()
	if err != nil {
		return built{}, fmt.Errorf("digest: %w", err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		return built{}, fmt.Errorf("read the manifest: %w", err)
	}
	size := manifest.Config.Size
	for _, l := range manifest.Layers {
		size += l.Size
	}
	return built{platform.String(), size, digest}, nil
}

// file is one of an image's.
type file struct {
	name    string
	content []byte
	mode    int64
}

// layerOf packs files, all root's and of no time.
func layerOf(files ...file) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack a layer: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
	if err != nil {
		return nil, fmt.Errorf("compress a layer: %w", err)
	}
	return layer, nil
}

// tarOf packs a directory in the order of its names.
func tarOf(dir string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pack the archive: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack the archive: %w", err)
	}
	return b.Bytes(), nil
}
