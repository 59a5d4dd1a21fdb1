package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// ifChanged calls write to write an archive, unless the same program has written it from the same inputs before. It
// prints the images in the archive and returns them.
func ifChanged(archive string, inputs hash.Hash, write func() ([]built, error)) ([]built, error) {
	if err := hashExecutable(inputs); err != nil {
		return nil, err
	}
	want := hex.EncodeToString(inputs.Sum(nil))
	stamp := archive + ".stamp"
	var last struct {
		Inputs string
		Images []built
	}
	if content, err := os.ReadFile(stamp); err == nil && json.Unmarshal(content, &last) == nil && last.Inputs == want {
		if _, err := os.Stat(archive); err == nil {
			printImages(last.Images)
			return last.Images, nil
		}
	}
	images, err := write()
	if err != nil {
		return nil, err
	}
	last.Inputs, last.Images = want, images
	content, err := json.Marshal(last)
	if err := errors.Join(err, os.WriteFile(stamp, content, 0o644)); err != nil {
		return nil, fmt.Errorf("write the stamp of the archive: %w", err)
	}
	printImages(images)
	return images, nil
}

// printImages prints the name, platform, size and digest of images.
func printImages(images []built) {
	for _, b := range images {
		fmt.Printf("%-47s %-11s %5.1f MB  %s\n", b.Name, b.Platform, float64(b.Size)/(1<<20), b.Digest)
	}
}

// hashExecutable writes the binary of this program to a hash.
func hashExecutable(to io.Writer) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	binary, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	defer binary.Close()
	if _, err := io.Copy(to, binary); err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	return nil
}
