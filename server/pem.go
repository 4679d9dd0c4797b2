// SPDX-License-Identifier: Apache-2.0

// PEM files, read strictly: half a file is an error, where crypto/tls and crypto/x509 use
// the blocks that they can read.

package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

const maxPEM = 1 << 20

// A pemFile is a file that was read.
type pemFile struct {
	name string // "": no file
	data []byte
}

// tlsFiles are the files of one configuration.
type tlsFiles struct{ certificate, key, authorities pemFile }

// readPEM reads a file of up to maxPEM bytes. It does not wait, as it would for a named pipe.
func readPEM(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %q: it is not a regular file (%v)", name, info.Mode().Type())
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPEM {
		return nil, fmt.Errorf("reading %q: it has more than %d bytes, which no certificates need", name, maxPEM)
	}
	return data, nil
}

// config returns base with the files' certificate and authorities.
func (f tlsFiles) config(base *tls.Config) (*tls.Config, error) {
	for _, file := range []pemFile{f.certificate, f.key} {
		if _, err := file.blocks(); err != nil {
			return nil, err
		}
	}
	pair, err := tls.X509KeyPair(f.certificate.data, f.key.data)
	if err != nil {
		return nil, fmt.Errorf("the certificate in %q with the key in %q: %w", f.certificate.name, f.key.name, err)
	}
	for _, der := range pair.Certificate[1:] { // X509KeyPair parses the first one alone
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("the chain in %q: %w", f.certificate.name, err)
		}
	}
	config := withProtocols(base.Clone())
	config.Certificates = []tls.Certificate{pair}
	if f.authorities.name == "" {
		return config, nil
	}
	if config.ClientCAs, err = f.authorities.pool(); err != nil {
		return nil, err
	}
	if config.ClientAuth == tls.NoClientCert {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// pool returns the authorities in a file, of which there must be one at least.
func (f pemFile) pool() (*x509.CertPool, error) {
	blocks, err := f.blocks()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("reading %q: it has a block of the type %q, expected certificates of authorities only", f.name, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", f.name, err)
		}
		pool.AddCert(certificate)
	}
	return pool, nil
}

var begin = []byte("-----BEGIN")

// blocks returns the blocks of a file. A block that is not complete, at which pem.Decode only
// skips lines, is an error.
func (f pemFile) blocks() ([]*pem.Block, error) {
	begun := 0
	for line := range bytes.Lines(f.data) {
		if bytes.HasPrefix(line, begin) || line[0] == '-' && bytes.HasPrefix(begin, line) {
			begun++
		}
	}
	if begun == 0 {
		return nil, fmt.Errorf("reading %q: it has no PEM block, expected lines that begin with %q", f.name, begin)
	}
	var blocks []*pem.Block
	for block, rest := pem.Decode(f.data); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	if len(blocks) < begun {
		return nil, fmt.Errorf("reading %q: %w: %d blocks begin and %d are complete", f.name, errHalf, begun, len(blocks))
	}
	return blocks, nil
}

var errHalf = errors.New("the file is not complete")
