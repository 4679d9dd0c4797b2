// SPDX-License-Identifier: Apache-2.0

// What stands in front of a function: it makes events of requests and responses of what the
// function returns, in the formats of AWS, whose shapes these are.

package lambda_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/lambda"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type (
	message = wrapperspb.BytesValue
	client  = connect.Client[message, message]
	object  = map[string]any
)

const (
	pathUnary  = "/test.v1.S/Unary"
	pathServer = "/test.v1.S/Server"
	pathClient = "/test.v1.S/Client"
	pathBidi   = "/test.v1.S/Bidi"
)

// fronts are functions that make events.
var fronts = map[string]func(*http.Request, []byte) object{
	"function URL": v2, "HTTP API": v2, "REST API": v1, "ALB": func(r *http.Request, body []byte) object { return alb(r, body, false) },
	"ALB, many values": func(r *http.Request, body []byte) object { return alb(r, body, true) },
}

func v2(r *http.Request, body []byte) object {
	headers := make(map[string]string)
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	headers["host"] = r.URL.Host
	return object{
		"version": "2.0", "routeKey": "$default", "rawPath": r.URL.EscapedPath(), "rawQueryString": r.URL.RawQuery,
		"headers": headers, "body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
		"requestContext": object{
			"accountId": "123456789012", "apiId": "abc", "domainName": r.URL.Host, "stage": "$default", "requestId": "1", "timeEpoch": 1583348638390,
			"http": object{"method": r.Method, "path": r.URL.Path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "agent"},
		},
	}
}

func v1(r *http.Request, body []byte) object {
	one, many := make(map[string]string), make(map[string][]string)
	for name, values := range r.Header {
		one[name], many[name] = values[len(values)-1], values
	}
	many["Host"] = []string{r.URL.Host}
	query := r.URL.Query()
	first := make(map[string]string)
	for name := range query {
		first[name] = query.Get(name)
	}
	return object{
		"resource": "/{proxy+}", "path": r.URL.Path, "httpMethod": r.Method, "headers": one, "multiValueHeaders": many,
		"queryStringParameters": first, "multiValueQueryStringParameters": query,
		"requestContext": object{"stage": "prod", "path": "/prod" + r.URL.Path, "identity": object{"sourceIp": "192.0.2.7"}},
		"body":           base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
	}
}

func alb(r *http.Request, body []byte, many bool) object {
	e := object{
		"requestContext": object{"elb": object{"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/t/1"}},
		"httpMethod":     r.Method, "path": r.URL.EscapedPath(),
		"body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
	}
	header := r.Header.Clone()
	header.Set("Host", r.URL.Host)
	header.Set("X-Forwarded-For", "203.0.113.1, 192.0.2.7")
	raw := make(map[string][]string) // as it is in the URL
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			raw[name] = append(raw[name], value)
		}
	}
	if many {
		lower := make(map[string][]string)
		for name, values := range header {
			lower[strings.ToLower(name)] = values
		}
		e["multiValueHeaders"], e["multiValueQueryStringParameters"] = lower, raw
		return e
	}
	headers, query := make(map[string]string), make(map[string]string)
	for name, values := range header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	for name, values := range raw {
		query[name] = values[0]
	}
	e["headers"], e["queryStringParameters"] = headers, query
	return e
}

// A front is a transport to a function.
type front struct {
	function *lambda.Function
	event    func(*http.Request, []byte) object
	stream   bool
}

func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	payload, err := json.Marshal(f.event(r, body))
	if err != nil {
		return nil, err
	}
	if f.stream {
		response, err := f.function.Stream(r.Context(), payload)
		if err != nil {
			return nil, err
		}
		return readStream(r.Context(), response)
	}
	response, err := f.function.Invoke(r.Context(), payload)
	if err != nil {
		return nil, err
	}
	return readWhole(response)
}

// A received is a response in any format.
type received struct {
	StatusCode        int
	StatusDescription string
	Headers           map[string]string
	MultiValueHeaders map[string][]string
	Cookies           []string
	Body              string
	IsBase64Encoded   bool
}

func (r received) response(body io.ReadCloser) *http.Response {
	header := make(http.Header)
	for name, value := range r.Headers {
		header.Set(name, value)
	}
	for name, values := range r.MultiValueHeaders {
		header[name] = values
	}
	for _, cookie := range r.Cookies {
		header.Add("Set-Cookie", cookie)
	}
	return &http.Response{StatusCode: r.StatusCode, Status: fmt.Sprint(r.StatusCode), ProtoMajor: 2, Header: header, Body: body, ContentLength: -1, Trailer: make(http.Header)}
}

func readWhole(payload []byte) (*http.Response, error) {
	var r received
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, err
	}
	body := []byte(r.Body)
	if r.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(r.Body); err != nil {
			return nil, err
		}
	}
	return r.response(io.NopCloser(bytes.NewReader(body))), nil
}

// readStream reads the head, and leaves the body to the caller. As the runtime, it closes the
// response when its caller has gone.
func readStream(ctx context.Context, response *lambda.Response) (*http.Response, error) {
	var head []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, make([]byte, 8)) {
		if _, err := io.ReadFull(response, one); err != nil {
			return nil, err
		}
		head = append(head, one[0])
	}
	var r received
	if err := json.Unmarshal(head[:len(head)-8], &r); err != nil {
		return nil, err
	}
	if got := response.ContentType(); got != "application/vnd.awslambda.http-integration-response" {
		return nil, errors.New("the content type is " + got)
	}
	stop := context.AfterFunc(ctx, func() { _ = response.Close() })
	return r.response(&streamBody{response, stop}), nil
}

type streamBody struct {
	*lambda.Response
	stop func() bool
}

func (b *streamBody) Close() error {
	b.stop()
	return b.Response.Close()
}
