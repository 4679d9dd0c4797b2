// SPDX-License-Identifier: Apache-2.0

// Unix sockets: the file's mode and group, files that others have left behind, and the end.

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	defaultMode fs.FileMode = 0o600
	askWait                 = time.Second // for a server to accept, when we ask whether it is there
	lockWait                = 2 * time.Second
)

// unixSettings are those of a Unix socket.
type unixSettings struct {
	mode    fs.FileMode
	hasMode bool
	group   string
}

// listen opens the socket at path. Two servers that start at the same time with the same path
// come after each other, so that the second one finds the first one's socket in use.
func (u unixSettings) listen(path string) (net.Listener, error) {
	switch {
	case path == "":
		return nil, errors.New(`expected a path, as in "unix:/run/greet.sock"`)
	case path[0] == '@':
		if u.hasMode || u.group != "" {
			return nil, errors.New("a socket without a file has no mode and no group: give it a path, or check connect.Peer.Unix in a gate")
		}
		return net.Listen("unix", path)
	}
	gid, err := groupOf(u.group)
	if err != nil {
		return nil, err
	}
	unlock, err := lockFolder(filepath.Dir(path), lockWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	inner, err := bindUnix(path)
	if err != nil {
		return nil, err
	}
	inner.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		_ = inner.Close()
		return nil, err
	}
	s := &unixListener{UnixListener: inner, path: path, file: file}
	if err := u.own(path, gid); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// bindUnix opens a socket. On Linux the file's mode is narrow from its first moment, because
// it is the socket's, less the process's umask.
func bindUnix(path string) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { restrict(fd) })
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if most := len(syscall.RawSockaddrUnix{}.Path); err != nil && len(path) >= most {
		return nil, fmt.Errorf("%w: the path has %d bytes, expected less than %d: choose a shorter one", err, len(path), most)
	}
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// own gives the file its group and mode, in this order: the mode may be wider.
func (u unixSettings) own(path string, gid int) error {
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			return fmt.Errorf("setting the group %q: %w; the server's user must be a member of it", u.group, err)
		}
	}
	mode := defaultMode
	if u.hasMode {
		mode = u.mode
	}
	return os.Chmod(path, mode)
}

// groupOf returns the number of a group, -1 for "".
func groupOf(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(gid), nil
	}
	found, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("looking up the group %q: %w; expected its name or its number", group, err)
	}
	return strconv.Atoi(found.Gid)
}

// removeStale removes a socket on which nothing listens any more. All other files stay, and
// are errors.
func removeStale(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("the file is there and is not a socket (%v): remove it, or choose another path", before.Mode().Type())
	}
	conn, err := net.DialTimeout("unix", path, askWait)
	if err == nil {
		_ = conn.Close()
		return errors.New("another process listens there: end it, or choose another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the socket is there, and whether a process listens is not clear: %w", err)
	}
	if err := removeSame(path, before); err != nil {
		return fmt.Errorf("removing the socket that was left behind: %w", err)
	}
	return nil
}

// removeSame removes the file at path if it is still this one.
func removeSame(path string, file fs.FileInfo) error {
	now, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, file) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// A unixListener removes its file when it is closed, and no file that took its place.
type unixListener struct {
	*net.UnixListener
	path string
	file fs.FileInfo
	once sync.Once
}

// Close removes the file before it closes the socket: while there is a file, a process
// listens.
func (l *unixListener) Close() error {
	var removed error
	l.once.Do(func() { removed = removeSame(l.path, l.file) })
	return errors.Join(l.UnixListener.Close(), removed)
}
