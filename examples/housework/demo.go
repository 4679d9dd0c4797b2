// SPDX-License-Identifier: Apache-2.0

// The scene: a server and two people in one process, over real connections.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1/houseworkv1connect"
)

// A scene has what its parts share.
type scene struct {
	dir, url, metrics string
	out               io.Writer
	log               *os.File
	stop              func() error // ends the server
}

// demo plays the scene in a folder that it removes. It returns an error if a part does not
// end as it should.
func demo(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "housework-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s := &scene{dir: dir, out: out, log: log, stop: func() error { return nil }}
	defer func() { err = errors.Join(err, s.stop()) }()

	ada, grace := options{dir: dir, person: "ada"}, options{dir: dir, person: "grace"}
	parts := []struct {
		title string
		play  func() error
	}{
		{"certificates for the server, ada and grace", func() error { return writeCerts(out, dir, []string{"ada", "grace"}) }},
		{"the server starts", func() error { return s.start(ctx) }},
		{"ada adds chores, with gRPC", func() error {
			return ada.at(s.url, "grpc").add(ctx, out, []string{"mop the floor", "wash the dishes", "feed the cat"})
		}},
		{"grace completes two, with gRPC-Web", func() error { return grace.at(s.url, "grpcweb").complete(ctx, out, []string{"1", "3"}) }},
		{"an HTTP GET lists the open ones, as curl sends it", func() error { return s.get(ctx) }},
		{"a chore without a title is refused", func() error { return s.refused(ada.at(s.url, "connect").add(ctx, out, []string{" "})) }},
		{"so is a client without a certificate", func() error {
			config, err := readCerts(dir, "ada")
			if err != nil {
				return err
			}
			config.Certificates = nil
			_, err = s.fetch(ctx, config, s.url+houseworkv1connect.RobotMaidListProcedure)
			return s.refused(err)
		}},
		{"the server ends and starts again", func() error { return errors.Join(s.stop(), s.start(ctx)) }},
		{"ada lists the chores, with Connect", func() error { return ada.at(s.url, "connect").list(ctx, out, false) }},
		{"metrics since the start", func() error {
			body, err := s.fetch(ctx, nil, s.metrics)
			fmt.Fprintf(out, "%s", body)
			return err
		}},
		{"the log of both servers", func() error {
			content, err := os.ReadFile(log.Name())
			fmt.Fprintf(out, "%s", content)
			return err
		}},
	}
	for _, p := range parts {
		fmt.Fprintf(out, "\n== %s\n", p.title)
		if err := p.play(); err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
	}
	return nil
}

// at returns the options for a server and a protocol.
func (o options) at(url, protocol string) options {
	o.url, o.protocol = url, protocol
	return o
}

// start starts a server on free ports, and waits until it listens.
func (s *scene) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- serve(ctx, slog.New(slog.NewTextHandler(s.log, nil)), s.dir, "127.0.0.1:0", "127.0.0.1:0", func(url, metrics string) {
			s.url, s.metrics = url, metrics
			close(ready)
		})
	}()
	s.stop = func() error {
		s.stop = func() error { return nil }
		cancel()
		return <-ended
	}
	select {
	case <-ready:
		fmt.Fprintln(s.out, "it listens on a free port of 127.0.0.1")
		return nil
	case err := <-ended:
		ended <- nil
		return err
	}
}

// get calls List without any library for RPC.
func (s *scene) get(ctx context.Context) error {
	config, err := readCerts(s.dir, "grace")
	if err != nil {
		return err
	}
	query := url.Values{"connect": {"v1"}, "encoding": {"json"}, "message": {`{"openOnly":true}`}}.Encode()
	fmt.Fprintf(s.out, "GET %s?%s\n", houseworkv1connect.RobotMaidListProcedure, query)
	body, err := s.fetch(ctx, config, s.url+houseworkv1connect.RobotMaidListProcedure+"?"+query)
	fmt.Fprintf(s.out, "%s\n", body)
	return err
}

// fetch returns the body at a URL.
func (s *scene) fetch(ctx context.Context, config *tls.Config, url string) (string, error) {
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("got status %s, want 200: %s", res.Status, body)
	}
	return string(body), err
}

// refused prints the error that a call must have.
func (s *scene) refused(err error) error {
	if err == nil {
		return errors.New("got an answer, want an error")
	}
	fmt.Fprintln(s.out, err)
	return nil
}
