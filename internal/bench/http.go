// SPDX-License-Identifier: Apache-2.0

// The floor for everything on net/http: a handler and a client that move the
// same bytes with as little as it allows.

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
)

// The paths of the bare server.
const (
	pathEcho     = "/echo"
	pathGzip     = "/gzip"
	pathDownload = "/download"
	pathUpload   = "/upload"
	pathChat     = "/chat"
)

// octets is the content type of all bodies. Without one, net/http detects it.
var octets = []string{"application/octet-stream"}

type httpClient struct {
	*httpPair
	urls    map[string]*url.URL
	scratch []*scratch // by caller
	gzip    bool
}

// scratch is memory that is used for one call after the other.
type scratch struct {
	read    *bufio.Reader
	message []byte
	packed  bytes.Buffer
	deflate *gzip.Writer
	inflate *gzip.Reader
}

var scratches = sync.Pool{New: func() any { return newScratch() }}

func newScratch() *scratch {
	deflate, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // as ours is by default; the level exists
	return &scratch{read: bufio.NewReader(nil), deflate: deflate, inflate: new(gzip.Reader)}
}

func openHTTP(transport string) func(*network, work, int) (contender, error) {
	return func(n *network, w work, callers int) (contender, error) {
		pair, err := newHTTPPair(n, transport, http.HandlerFunc(serveBytes), callers)
		if err != nil {
			return nil, err
		}
		c := &httpClient{httpPair: pair, urls: make(map[string]*url.URL), gzip: w.extra == gzipped}
		for _, path := range []string{pathEcho, pathGzip, pathDownload, pathUpload, pathChat} {
			if c.urls[path], err = url.Parse(pair.base + path); err != nil {
				return nil, errors.Join(err, pair.Close())
			}
		}
		for range callers {
			c.scratch = append(c.scratch, newScratch())
		}
		return c, nil
	}
}

// do sends a body and returns the body of the answer.
func (c *httpClient) do(ctx context.Context, path string, body io.Reader, length int) (*http.Response, error) {
	u := c.urls[path]
	closer, ok := body.(io.ReadCloser)
	if !ok {
		closer = io.NopCloser(body)
	}
	request := (&http.Request{
		Method:        http.MethodPost,
		URL:           u,
		Host:          u.Host,
		Header:        http.Header{"Content-Type": octets},
		Body:          closer,
		ContentLength: int64(length),
	}).WithContext(ctx)
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("HTTP status %s", response.Status), response.Body.Close())
	}
	return response, nil
}

func (c *httpClient) echo(ctx context.Context, caller int, data []byte) ([]byte, error) {
	s := c.scratch[caller]
	path := pathEcho
	if c.gzip {
		path = pathGzip
		var err error
		if data, err = s.pack(data); err != nil {
			return nil, err
		}
	}
	response, err := c.do(ctx, path, bytes.NewReader(data), len(data))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if c.gzip {
		return s.unpack(response.Body)
	}
	return s.readAll(response.Body, response.ContentLength)
}

func (c *httpClient) download(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	s := c.scratch[caller]
	s.message = append(binary.BigEndian.AppendUint32(s.message[:0], uint32(count)), data...)
	response, err := c.do(ctx, pathDownload, bytes.NewReader(s.message), len(s.message))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	s.read.Reset(response.Body)
	for {
		s.message, err = readFrame(s.read, s.message)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := receive(s.message); err != nil {
			return err
		}
	}
}

func (c *httpClient) upload(ctx context.Context, caller int, data []byte, count int) (int, []byte, error) {
	s := c.scratch[caller]
	s.message = appendFrame(s.message[:0], data)
	response, err := c.do(ctx, pathUpload, &frames{frame: s.message, count: count}, -1)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || len(answer) < 4 {
		return 0, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return int(binary.BigEndian.Uint32(answer)), answer[4:], nil
}

func (c *httpClient) chat(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	s := c.scratch[caller]
	frame := appendFrame(nil, data)
	body, send := io.Pipe()
	defer send.Close()
	response, err := c.do(ctx, pathChat, body, -1)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	s.read.Reset(response.Body)
	for range count {
		if _, err := send.Write(frame); err != nil {
			return err
		}
		if s.message, err = readFrame(s.read, s.message); err != nil {
			return err
		}
		if err := receive(s.message); err != nil {
			return err
		}
	}
	if err := send.Close(); err != nil {
		return err
	}
	if _, err := s.read.Peek(1); err != io.EOF {
		return errors.Join(errNotEnded, err)
	}
	return nil
}

// serveBytes is the handler.
func serveBytes(w http.ResponseWriter, r *http.Request) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	w.Header()["Content-Type"] = octets
	var err error
	switch r.URL.Path {
	case pathEcho:
		err = s.serveEcho(w, r)
	case pathGzip:
		err = s.serveGzip(w, r)
	case pathDownload:
		err = s.serveDownload(w, r)
	case pathUpload:
		err = s.serveUpload(w, r)
	case pathChat:
		err = s.serveChat(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (s *scratch) serveEcho(w http.ResponseWriter, r *http.Request) error {
	message, err := s.readAll(r.Body, r.ContentLength)
	if err != nil {
		return err
	}
	return answer(w, message)
}

func (s *scratch) serveGzip(w http.ResponseWriter, r *http.Request) error {
	message, err := s.unpack(r.Body)
	if err != nil {
		return err
	}
	if message, err = s.pack(message); err != nil {
		return err
	}
	return answer(w, message)
}

func (s *scratch) serveDownload(w http.ResponseWriter, r *http.Request) error {
	request, err := s.readAll(r.Body, r.ContentLength)
	if err != nil {
		return err
	}
	if len(request) < 4 {
		return io.ErrUnexpectedEOF
	}
	frame := appendFrame(nil, request[4:])
	for range binary.BigEndian.Uint32(request) {
		if _, err := w.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

func (s *scratch) serveUpload(w http.ResponseWriter, r *http.Request) error {
	s.read.Reset(r.Body)
	for count := uint32(0); ; count++ {
		message, err := readFrame(s.read, s.message)
		if err == io.EOF {
			return answer(w, append(binary.BigEndian.AppendUint32(nil, count), s.message...))
		}
		if err != nil {
			return err
		}
		s.message = message
	}
}

func (s *scratch) serveChat(w http.ResponseWriter, r *http.Request) error {
	flush := http.NewResponseController(w)
	if err := flush.Flush(); err != nil { // the client waits for the headers
		return err
	}
	var frame []byte
	s.read.Reset(r.Body)
	for {
		message, err := readFrame(s.read, s.message)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.message = message
		frame = appendFrame(frame[:0], message)
		if _, err := w.Write(frame); err != nil {
			return err
		}
		if err := flush.Flush(); err != nil {
			return err
		}
	}
}

// answer writes a whole body. net/http counts the bytes of a small one itself.
func answer(w http.ResponseWriter, body []byte) error {
	if len(body) >= 2048 {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	_, err := w.Write(body)
	return err
}

// readAll reads a body up to its Content-Length.
func (s *scratch) readAll(r io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return nil, errors.New("read body: length is not known")
	}
	s.message = resize(s.message, int(length))
	_, err := io.ReadFull(r, s.message)
	return s.message, err
}

// pack compresses.
func (s *scratch) pack(data []byte) ([]byte, error) {
	s.packed.Reset()
	s.deflate.Reset(&s.packed)
	if _, err := s.deflate.Write(data); err != nil {
		return nil, err
	}
	err := s.deflate.Close()
	return s.packed.Bytes(), err
}

// unpack is the inverse of pack.
func (s *scratch) unpack(r io.Reader) ([]byte, error) {
	s.read.Reset(r)
	if err := s.inflate.Reset(s.read); err != nil {
		return nil, err
	}
	message := bytes.NewBuffer(s.message[:0])
	_, err := message.ReadFrom(s.inflate)
	s.message = message.Bytes()
	return s.message, err
}
