// SPDX-License-Identifier: Apache-2.0

// Unary requests straight to the transport, if http.Client would do nothing more.

package connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
)

// transport returns the transport that [http.Client.Do] would call. It returns nil if
// Do would do more than that: if the client has a cookie jar, a timeout or a redirect
// policy, or the URL a user. It looks at the client for each call, because the
// program may change it.
func (c *config) transport() http.RoundTripper {
	client, ok := c.http.(*http.Client)
	if !ok || client == nil || client.Jar != nil || client.Timeout != 0 || client.CheckRedirect != nil || c.url.User != nil {
		return nil
	}
	if client.Transport == nil {
		return http.DefaultTransport
	}
	return client.Transport
}

// likeDo returns what [http.Client.Do] would have returned after a transport has
// returned response and err.
func likeDo(r *http.Request, transport http.RoundTripper, response *http.Response, err error) (*http.Response, error) {
	switch {
	case err != nil:
	case response == nil:
		err = fmt.Errorf("%T returned neither a response nor an error", transport)
	case response.Body == nil && response.ContentLength > 0:
		err = fmt.Errorf("%T returned a response of %d bytes without a body", transport, response.ContentLength)
	}
	if err != nil {
		return nil, clearer(err)
	}
	if response.Body == nil {
		response.Body = http.NoBody
	}
	if isRedirect(response.StatusCode) {
		again := &http.Client{Transport: &replay{transport, response}}
		return again.Do(r)
	}
	return response, nil
}

// clearer returns a transport's error as Do would: http.ErrSchemeMismatch for a TLS
// record that is an HTTP response.
func clearer(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" {
		return http.ErrSchemeMismatch
	}
	return err
}

// isRedirect reports whether Do may send another request after a response of this
// status.
func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// replay is a transport that returns a response which has already arrived, and then
// those of another transport. With it Do follows a redirect.
type replay struct {
	http.RoundTripper
	response *http.Response
}

func (p *replay) RoundTrip(r *http.Request) (*http.Response, error) {
	if response := p.response; response != nil {
		p.response = nil
		return response, nil // the transport has closed r.Body
	}
	return p.RoundTripper.RoundTrip(r)
}
