// SPDX-License-Identifier: Apache-2.0

// Errors without the parts of URLs that may be secret.

package connect

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// withoutURL removes the URL that Do puts before an error. The URL of a GET holds the
// message, and any URL may hold a token: neither belongs in a log. If a transport of the
// program has put such an error into another, its text loses the query alone.
func withoutURL(err error) error {
	for {
		named, ok := err.(*url.Error)
		if !ok || named.Err == nil {
			break
		}
		err = named.Err
	}
	var inside *url.Error
	if !errors.As(err, &inside) || withoutSecrets(inside.URL) == inside.URL {
		return err
	}
	quoted := strconv.Quote(inside.URL)
	return &shortened{err, strings.ReplaceAll(err.Error(), quoted[1:len(quoted)-1], withoutSecrets(inside.URL))}
}

// shortened is an error with another text.
type shortened struct {
	error
	text string
}

func (e *shortened) Error() string { return e.text }
func (e *shortened) Unwrap() error { return e.error }

// withoutSecrets returns the text of a URL, valid or not, without the parts that may be
// secret: user information, query and fragment.
func withoutSecrets(raw string) string {
	if i := strings.IndexAny(raw, "?#"); i >= 0 {
		raw = raw[:i]
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}
	host, path, slash := strings.Cut(rest, "/")
	if slash {
		path = "/" + path
	}
	return scheme + host[strings.LastIndexByte(host, '@')+1:] + path
}
