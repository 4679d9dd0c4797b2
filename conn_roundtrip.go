// SPDX-License-Identifier: Apache-2.0

// Unary requests past http.Client, where it would add nothing but work.

package connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// transport returns what [http.Client.Do] would call, nil if Do might do more
// than that: it knows cookies, a timeout, redirects and passwords in URLs. The
// client is looked at for each call, as its owner may change it.
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

// likeDo makes of what a transport returned what Do would have made of it.
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

// clearer returns what Do would have made of a transport's error where it is clearer.
func clearer(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" {
		return http.ErrSchemeMismatch
	}
	return err
}

// withoutURL returns an error of Do without the URL that Do puts before it: the URL
// of a GET holds the message, that of any call may hold a token, and errors get into
// logs.
func withoutURL(err error) error {
	for {
		named, ok := err.(*url.Error)
		if !ok || named.Err == nil {
			return err
		}
		err = named.Err
	}
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

// replay is a transport whose first response is there already, so that Do can go
// on from it.
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
