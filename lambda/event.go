// SPDX-License-Identifier: Apache-2.0

// Events: the requests in them, and the shapes of their responses. Function URLs and HTTP APIs
// share a format (2.0), REST APIs have one (1.0), and load balancers a variant of that.

package lambda

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxResponse is the largest payload of a buffered response. ["Lambda quotas": 6 MB]
const maxResponse = 6 << 20

// An event has the fields of all formats.
type event struct {
	Version string `json:"version"`

	// Format 2.0.
	RawPath        string   `json:"rawPath"`
	RawQueryString string   `json:"rawQueryString"`
	Cookies        []string `json:"cookies"`

	// Format 1.0, and that of load balancers.
	HTTPMethod        string              `json:"httpMethod"`
	Path              string              `json:"path"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
	Query             map[string]string   `json:"queryStringParameters"`
	MultiValueQuery   map[string][]string `json:"multiValueQueryStringParameters"`

	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	RequestContext  struct {
		DomainName string `json:"domainName"`
		HTTP       struct {
			Method   string `json:"method"`
			Protocol string `json:"protocol"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
		Identity struct {
			SourceIP string `json:"sourceIp"`
		} `json:"identity"`
		ELB *struct{} `json:"elb"`
	} `json:"requestContext"`
}

func (e *event) isV2() bool  { return e.RequestContext.HTTP.Method != "" }
func (e *event) isALB() bool { return e.RequestContext.ELB != nil }

// request returns the event of a payload and its request. refusal is not nil if the handler
// must not see it.
func request(ctx context.Context, payload []byte) (e *event, r *http.Request, refusal func(http.ResponseWriter), err error) {
	e = new(event)
	if err := json.Unmarshal(payload, e); err != nil {
		return nil, nil, nil, fmt.Errorf("lambda: decoding the event: %w", err)
	}
	if !e.isV2() && (e.HTTPMethod == "" || e.Path == "") {
		return nil, nil, nil, errors.New("lambda: the event is not of HTTP: expected one of a function URL, of API Gateway or of a load balancer")
	}
	r, err = e.request(ctx)
	if err != nil {
		r = new(http.Request).WithContext(ctx)
		return e, r, refuseBad(err), nil
	}
	if isGRPC(r) {
		return e, r, refuseGRPC(r.Header.Get("Content-Type")), nil
	}
	return e, r, nil, nil
}

// request makes the request of an event.
func (e *event) request(ctx context.Context) (*http.Request, error) {
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fmt.Errorf("lambda: the event's body: %w", err)
		}
	}
	method, path, ip := e.HTTPMethod, e.Path, e.RequestContext.Identity.SourceIP
	if e.isV2() {
		method, path, ip = e.RequestContext.HTTP.Method, e.RawPath, e.RequestContext.HTTP.SourceIP
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("lambda: the event's path is %q, expected one that begins with a slash", path)
	}
	query, err := e.query()
	if err != nil {
		return nil, err
	}
	if !e.isV2() && !e.isALB() {
		path = (&url.URL{Path: path}).EscapedPath() // REST APIs decode it
	}
	target := path
	if query != "" {
		target += "?" + query
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("lambda: the event's path and query: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("lambda: the event's request: %w", err)
	}
	r.URL, r.RequestURI = u, target
	r.Header = e.header()
	if r.Host = r.Header.Get("Host"); r.Host == "" {
		r.Host = e.RequestContext.DomainName
	}
	r.Header.Del("Host")
	if e.isALB() {
		ip = lastForwarded(r.Header)
	}
	if ip != "" {
		r.RemoteAddr = net.JoinHostPort(ip, "0")
	}
	return r, nil
}

// lastForwarded returns the address that the load balancer has added itself, the last one. It
// has the client's port if the load balancer is set to preserve it.
func lastForwarded(header http.Header) string {
	list := strings.Join(header.Values("X-Forwarded-For"), ",")
	last := strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
	if host, _, err := net.SplitHostPort(last); err == nil {
		return host
	}
	return last
}

// header returns the request's header. Events join the values of a name with commas, unless
// they have lists. Binary values are taken apart: their base64 has no commas.
func (e *event) header() http.Header {
	header := make(http.Header)
	for name, value := range e.Headers {
		switch {
		case len(e.MultiValueHeaders) > 0:
		case strings.HasSuffix(strings.ToLower(name), "-bin"):
			for one := range strings.SplitSeq(value, ",") {
				header.Add(name, strings.TrimSpace(one))
			}
		default:
			header.Add(name, value)
		}
	}
	for name, values := range e.MultiValueHeaders {
		for _, value := range values {
			header.Add(name, value)
		}
	}
	if len(e.Cookies) > 0 {
		header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	return header
}

// query returns the request's query. That of REST APIs is decoded, that of load balancers is
// not.
func (e *event) query() (string, error) {
	if e.isV2() {
		return e.RawQueryString, nil
	}
	values := make(url.Values)
	add := func(name, value string) error {
		if e.isALB() {
			var errs [2]error
			name, errs[0] = url.QueryUnescape(name)
			value, errs[1] = url.QueryUnescape(value)
			if err := errors.Join(errs[:]...); err != nil {
				return fmt.Errorf("lambda: the event's query: %w", err)
			}
		}
		values.Add(name, value)
		return nil
	}
	for name, value := range e.Query {
		if len(e.MultiValueQuery) > 0 {
			break
		}
		if err := add(name, value); err != nil {
			return "", err
		}
	}
	for name, list := range e.MultiValueQuery {
		for _, value := range list {
			if err := add(name, value); err != nil {
				return "", err
			}
		}
	}
	return values.Encode(), nil
}

// A head is the first part of a response, in all formats.
type head struct {
	StatusCode        int                 `json:"statusCode"`
	StatusDescription string              `json:"statusDescription,omitempty"`
	Headers           map[string]string   `json:"headers,omitempty"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders,omitempty"`
	Cookies           []string            `json:"cookies,omitempty"`
}

// A whole is a buffered response.
type whole struct {
	head
	Body            string `json:"body"`
	IsBase64Encoded bool   `json:"isBase64Encoded"`
}

// head returns the head of a response in the event's format.
func (e *event) head(status int, header http.Header) head {
	h := head{StatusCode: status}
	if e.isALB() {
		h.StatusDescription = fmt.Sprintf("%d %s", status, http.StatusText(status))
	}
	many := make(map[string][]string)
	for name, values := range header {
		if strings.HasPrefix(name, http.TrailerPrefix) || name == "Trailer" || len(values) == 0 {
			continue // no format has trailers
		}
		many[name] = values
	}
	if !e.isV2() && (!e.isALB() || len(e.MultiValueHeaders) > 0) {
		h.MultiValueHeaders = many
		return h
	}
	h.Headers = make(map[string]string)
	for name, values := range many {
		if name == "Set-Cookie" && e.isV2() {
			h.Cookies = values
			continue
		}
		h.Headers[name] = strings.Join(values, ",")
	}
	return h
}

// response returns the whole response in the event's format.
func (e *event) response(w *buffered) whole {
	response := whole{head: e.head(w.statusOr200(), w.sent()), Body: string(w.body)}
	if !isText(w.sent(), w.body) {
		response.Body, response.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body), true
	}
	return response
}

// isText reports whether a body needs no base64.
func isText(header http.Header, body []byte) bool {
	if header.Get("Content-Encoding") != "" {
		return false
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return len(body) == 0 || err == nil && (media == "application/json" || strings.HasPrefix(media, "text/")) && utf8.Valid(body)
}
