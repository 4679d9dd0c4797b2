// SPDX-License-Identifier: Apache-2.0

// Requests with net/http's types.

package balance

import (
	"fmt"
	"net/http"
)

// HeedsContext reports that calls return when their contexts end. Clients of package
// connect ask for it. If self is not b, another type embeds b, and may have a RoundTrip of
// its own.
func (b *Balancer) HeedsContext(self http.RoundTripper) bool { return self == http.RoundTripper(b) }

// RoundTrip sends a request to an endpoint, whatever the host of its URL. It waits until
// one is ready, unless there is none or FailFast was set, and for the request's context
// at the longest. If the endpoint did not process the request, because there was no
// connection or it reports so, RoundTrip sends it to another, unless a part of its body
// was read and it has no GetBody. Errors from before an endpoint has processed a request
// wrap one with a method Unprocessed() bool that returns true. If no endpoint can be
// reached, clients of package connect get CodeUnavailable, or the code of a connect.Error
// that a function of the program has returned.
//
// Without the interceptor of [Balancer.Options], a response with a status of 500 or
// above, and an error other than the end of the context or that of the request's body, are
// the endpoint's failures.
func (b *Balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	g, err := b.find(r.URL)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	var s search
	s.begin(g, r.Context())
	if p, ok := g.policy.(*hashing); ok {
		s.key(p, r.Header.Get)
	}
	body := upload{request: r, rc: r.Body}
	for {
		if err := s.next(); err != nil {
			body.abandon()
			return nil, err
		}
		response, err := s.roundTrip(&body)
		if err == nil {
			body.commit()
			response.Request = r
			s.answered(response)
			return response, nil
		}
		if !s.mayMove(err) || !body.rewind() {
			body.abandon()
			return nil, s.fail(err, body.faulty())
		}
		s.move(err)
	}
}

// roundTrip sends the request to the endpoint.
func (s *search) roundTrip(body *upload) (*http.Response, error) {
	returned := false
	defer func() {
		if !returned { // a program's transport has panicked
			body.abandon()
			s.cancel()
		}
	}()
	response, err := s.use.d.transport.RoundTrip(body.attempt())
	returned = true
	if response == nil && err == nil {
		err = fmt.Errorf("balance: the transport of endpoint %q, a %T, returned neither a response nor an error", s.use.d.addr, s.use.d.transport)
	}
	return response, err
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
