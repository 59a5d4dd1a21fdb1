package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// file is a file or a symbolic link of an image.
type file struct {
	name    string
	mode    int64
	content []byte
	from    string // a file of this machine, instead of content
	target  string // the target of a link, instead of content and from
}

// layerOf returns a layer with files. They belong to root and have no modification time. The compression level is
// gzip's.
func layerOf(level int, files ...file) (v1.Layer, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(pack(w, files)) }()
		return r, nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(level), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("pack a layer: %w", err)
	}
	return layer, nil
}

// pack writes a tar archive of files, in the given order.
func pack(out io.Writer, files []file) error {
	w := tar.NewWriter(out)
	for _, f := range files {
		if err := f.pack(w); err != nil {
			return fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	return w.Close()
}

func (f file) pack(w *tar.Writer) error {
	header := tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}
	switch {
	case f.target != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.target
	case f.from != "":
		content, err := os.Open(f.from)
		if err != nil {
			return err
		}
		defer content.Close()
		info, err := content.Stat()
		if err != nil {
			return err
		}
		header.Size = info.Size()
		if err := w.WriteHeader(&header); err != nil {
			return err
		}
		_, err = io.Copy(w, content)
		return err
	}
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	_, err := w.Write(f.content)
	return err
}

// copied returns a copy of a file of this machine, with another name.
func copied(from, name string) (file, error) {
	info, err := os.Stat(from)
	if err != nil {
		return file{}, fmt.Errorf("find the file to copy: %w", err)
	}
	return file{name: strings.TrimPrefix(name, "/"), mode: int64(info.Mode().Perm()), from: from}, nil
}

// tree returns all files below a directory of this machine, sorted by name. It skips directories with a name in
// without. In the image the files are below the directory below.
func tree(dir, below string, without ...string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(dir, func(from string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(without, d.Name()):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		name, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		name = path.Join(below, filepath.ToSlash(name))
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(from)
			files = append(files, file{name: name, mode: 0o777, target: target})
			return err
		}
		f, err := copied(from, name)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return files, nil
}

// identify writes what identifies the content of a file. For a file of this machine that is its size and modification
// time, so that it need not be read.
func (f file) identify(to io.Writer) error {
	fmt.Fprintf(to, "%s %o %s %q\n", f.name, f.mode, f.target, f.content)
	if f.from == "" {
		return nil
	}
	info, err := os.Stat(f.from)
	if err != nil {
		return fmt.Errorf("find the file to copy: %w", err)
	}
	_, err = fmt.Fprintln(to, f.from, info.Size(), info.ModTime().UnixNano())
	return err
}
