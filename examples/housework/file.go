// SPDX-License-Identifier: Apache-2.0

// The file with the chores. It is replaced as a whole, so that a crash leaves the old
// chores or the new ones, and never a part.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	houseworkv1 "github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1"
)

// A file holds the chores of one server. Two servers must not share one. Its methods are
// safe for concurrent use.
type file struct {
	path    string
	chores  atomic.Pointer[houseworkv1.Chores] // what is on the disk; never changed, only replaced
	writing chan struct{}                      // has room for one: that of the goroutine that changes the file
}

// openFile reads the file. One that does not exist has no chores.
func openFile(path string) (*file, error) {
	f := &file{path: path, writing: make(chan struct{}, 1)}
	chores := &houseworkv1.Chores{}
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading the chores: %w", err)
	default:
		if err := protojson.Unmarshal(content, chores); err != nil {
			return nil, fmt.Errorf("reading the chores from %q: %w; restore a copy, or move the file away to begin with none", path, err)
		}
	}
	f.chores.Store(chores)
	return f, nil
}

// read returns the chores, which the caller must not change. It never waits for the disk.
func (f *file) read() *houseworkv1.Chores { return f.chores.Load() }

// change calls edit with a copy of the chores, and puts the result on the disk before it
// returns nil. If edit or the disk fails, the chores are as before. One change waits for
// another, until ctx ends.
func (f *file) change(ctx context.Context, edit func(*houseworkv1.Chores) error) error {
	select {
	case f.writing <- struct{}{}:
		defer func() { <-f.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	chores := proto.CloneOf(f.read())
	if err := edit(chores); err != nil {
		return err
	}
	if err := f.replace(chores); err != nil {
		return fmt.Errorf("writing the chores: %w", err)
	}
	f.chores.Store(chores)
	return nil
}

// replace writes a new file and puts it in the place of the old one.
func (f *file) replace(chores *houseworkv1.Chores) error {
	content, err := protojson.MarshalOptions{Multiline: true}.Marshal(chores)
	if err != nil {
		return err
	}
	beside := f.path + ".new" // one that a crash has left is overwritten
	if err := writeFile(beside, content); err != nil {
		return err
	}
	if err := os.Rename(beside, f.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path)) // otherwise a power cut may undo the renaming
}

// writeFile returns when content is on the disk.
func writeFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFolder returns when the names in a folder are on the disk, on systems that can do so.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
