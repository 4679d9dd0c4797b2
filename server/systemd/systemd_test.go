// SPDX-License-Identifier: Apache-2.0

// The environment of systemd: good and bad values, sockets of all sorts in a process of its
// own, and the reports of states.

//go:build unix

package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

// childVariable has the names that a process of its own takes, with ":" between them.
const childVariable = "CONNECT_SYSTEMD_TEST_CHILD"

// passedVariable has the number of descriptors that the process got.
const passedVariable = "CONNECT_SYSTEMD_TEST_PASSED"

func TestMain(m *testing.M) {
	if names, ok := os.LookupEnv(childVariable); ok {
		child(strings.Split(names, ":"))
		return
	}
	leaktest.Main(m)
}

// child takes sockets, and prints what it got, and what a child of its own would inherit.
func child(names []string) {
	for _, name := range names {
		var taken []net.Listener
		var err error
		if name == "*" {
			taken, err = TakeAll()
		} else {
			taken, err = Take(name)
		}
		for _, l := range taken {
			fmt.Println(name, l.Addr())
			go func() {
				c, err := l.Accept()
				if err == nil {
					_, _ = c.Write([]byte(name))
					_ = c.Close()
				}
			}()
		}
		if err != nil {
			fmt.Println(name, "failed:", errors.Is(err, ErrNone), err)
		}
	}
	inherited := 0
	passed, _ := strconv.Atoi(os.Getenv(passedVariable))
	for fd := firstFD; fd < firstFD+passed; fd++ {
		if flags, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); e == 0 && flags&syscall.FD_CLOEXEC == 0 {
			inherited++
		}
	}
	environment := 0
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "LISTEN_") {
			environment++
		}
	}
	fmt.Println("inherited:", inherited, environment)
}

// run runs a child with descriptors from number 3 on.
func run(t *testing.T, names string, variables string, sockets ...*os.File) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The shell becomes the program, and so has its number.
	command := exec.Command("/bin/sh", "-c", variables+` exec "$0"`, program)
	command.Env = append(os.Environ(), childVariable+"="+names, passedVariable+"="+strconv.Itoa(len(sockets)), "GORACE=atexit_sleep_ms=0")
	command.ExtraFiles = sockets
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return string(output)
}

func file(t *testing.T, from interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := from.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestTake(t *testing.T) {
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	folder, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "s")
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	connected, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	regular, err := os.Create(filepath.Join(folder, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	tcpFile, unixFile, udpFile, connectedFile := file(t, tcp), file(t, unix), file(t, udp), file(t, connected)
	none := "inherited: 0 0\n"
	for name, c := range map[string]struct {
		names, variables string
		sockets          []*os.File
		want             []string // parts of the output, in order
	}{
		"by name": {"b:a", "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b", []*os.File{tcpFile, unixFile},
			[]string{"b " + path, "a " + tcp.Addr().String(), none}},
		"once": {"a:a", "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a", []*os.File{tcpFile},
			[]string{"a " + tcp.Addr().String(), "a failed: true", none}},
		"two of a name": {"a", "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:a", []*os.File{tcpFile, unixFile},
			[]string{"a " + tcp.Addr().String(), "a " + path, none}},
		"the rest": {"b:*", "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b", []*os.File{tcpFile, unixFile},
			[]string{"b " + path, "* " + tcp.Addr().String(), none}},
		"no names": {"unknown", "LISTEN_PID=$$ LISTEN_FDS=1", []*os.File{tcpFile},
			[]string{"unknown " + tcp.Addr().String(), none}},
		"another name": {"c", "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a", []*os.File{tcpFile},
			[]string{"c failed: true", `["a"]`, none}},
		"no systemd":      {"*", "", nil, []string{"* failed: true", none}},
		"another process": {"*", "LISTEN_PID=1 LISTEN_FDS=1", []*os.File{tcpFile}, []string{"* failed: true", "inherited: 1 0\n"}},
		"too many":        {"*", "LISTEN_PID=$$ LISTEN_FDS=2", []*os.File{tcpFile}, []string{"* failed: false", "file descriptor 4", none}},
		"a lie":           {"*:*", "LISTEN_PID=$$ LISTEN_FDS=400000", nil, []string{"* failed: false", "* failed: false", none}},
		"UDP":             {"*", "LISTEN_PID=$$ LISTEN_FDS=1", []*os.File{udpFile}, []string{"* failed: false", "ListenStream=", "inherited: 1 0\n"}},
		"a connection":    {"*", "LISTEN_PID=$$ LISTEN_FDS=1", []*os.File{connectedFile}, []string{"* failed: false", "Accept=no", "inherited: 1 0\n"}},
		"a file":          {"*", "LISTEN_PID=$$ LISTEN_FDS=1", []*os.File{regular}, []string{"* failed: false", "not a socket", "inherited: 1 0\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, c.names, c.variables, c.sockets...)
			rest := got
			for _, want := range c.want {
				var found bool
				if _, rest, found = strings.Cut(rest, want); !found {
					t.Errorf("got the output\n%s\nwant the parts %q", got, c.want)
					return
				}
			}
		})
	}
}

func TestParse(t *testing.T) {
	const pid = 7
	for _, c := range []struct {
		pid, fds, names string // "-": unset
		want            []string
		wantErr         bool
	}{
		{"-", "1", "a", nil, false},
		{"8", "1", "a", nil, false},
		{"8", "many", "a", nil, false},
		{"7", "0", "-", nil, false},
		{"7", "0", "", nil, false},
		{"7", "2", "a:b", []string{"a", "b"}, false},
		{"7", "2", "-", []string{"unknown", "unknown"}, false},
		{"7", "1", "", []string{""}, false},
		{"7", "2", ":", []string{"", ""}, false},
		{"", "1", "a", nil, true},
		{"seven", "1", "a", nil, true},
		{"-7", "1", "a", nil, true},
		{"7", "-", "a", nil, true},
		{"7", "", "a", nil, true},
		{"7", "-1", "a", nil, true},
		{"7", "1.5", "a", nil, true},
		{"7", "99999999999999999999", "a", nil, true},
		{"7", "2000000000", "-", nil, true},
		{"7", "1", "a:b", nil, true},
		{"7", "2", "a", nil, true},
		{"7", "0", "a", nil, true},
	} {
		variables := make(map[string]string)
		for name, value := range map[string]string{"LISTEN_PID": c.pid, "LISTEN_FDS": c.fds, "LISTEN_FDNAMES": c.names} {
			if value != "-" {
				variables[name] = value
			}
		}
		got, err := parse(variables, pid)
		if fmt.Sprint(got) != fmt.Sprint(c.want) || (err != nil) != c.wantErr {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

// FuzzParse has values of any kind: as many names as sockets, or an error.
func FuzzParse(f *testing.F) {
	f.Add("7", "2", "a:b")
	f.Add("7", "-1", "")
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		got, err := parse(map[string]string{"LISTEN_PID": pid, "LISTEN_FDS": fds, "LISTEN_FDNAMES": names}, 7)
		if count, _ := strconv.Atoi(fds); err == nil && len(got) > 0 && len(got) != count {
			t.Errorf("got %d names, want %d", len(got), count)
		}
	})
}

// TestOpenAllFails closes the listeners before the one that fails.
func TestOpenAllFails(t *testing.T) {
	var opened []*closeCounter
	_, err := openAll([]string{"a", "b", "c"}, func(fd int, _ string) (net.Listener, error) {
		if fd == firstFD+2 {
			return nil, errors.New("broken")
		}
		opened = append(opened, new(closeCounter))
		return opened[len(opened)-1], nil
	})
	if err == nil || !strings.Contains(err.Error(), `"c"`) || len(opened) != 2 || opened[0].closed != 1 || opened[1].closed != 1 {
		t.Errorf("got %v and %d listeners, want an error and two that are closed", err, len(opened))
	}
}

type closeCounter struct {
	net.TCPListener
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestNotify(t *testing.T) {
	folder, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "n")
	receiver, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	for _, c := range []struct {
		address  string
		wantSent bool
		wantErr  string
	}{
		{path, true, ""},
		{"", false, ""},
		{"relative", false, "absolute path"},
		{path + "2", false, "no such file"},
		{"/" + strings.Repeat("x", 200), false, "invalid argument"},
	} {
		t.Setenv("NOTIFY_SOCKET", c.address)
		sent, err := Notify(Ready, "STATUS=a")
		if sent != c.wantSent || (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%q: got %v, %v, want %v, %q", c.address, sent, err, c.wantSent, c.wantErr)
		}
	}
	buffer := make([]byte, 100)
	n, err := receiver.Read(buffer)
	if want := []byte("READY=1\nSTATUS=a"); err != nil || !bytes.Equal(buffer[:n], want) {
		t.Errorf("got %q, %v, want %q", buffer[:n], err, want)
	}
}

// TestNotifyFull has a receiver that reads nothing: Notify gives up.
func TestNotifyFull(t *testing.T) {
	folder, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "n")
	receiver, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for range 100_000 {
		if _, err := Notify(Ready); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want the end of the time", err)
			}
			return
		}
	}
	t.Error("got no error from a receiver that reads nothing, want one")
}
