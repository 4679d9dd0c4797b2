// SPDX-License-Identifier: Apache-2.0

// Probes of one endpoint.

package balance

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

const probeMost = 10 * time.Second

type probedKey struct{}

// ProbedEndpoint returns the endpoint that a [Prober] with this context probes. In other
// contexts it is the zero Endpoint.
func ProbedEndpoint(ctx context.Context) Endpoint {
	e, _ := ctx.Value(probedKey{}).(Endpoint)
	return e
}

// probe probes the endpoint until it is removed. The first probe, and the first after a
// failure of the connection, come as soon as there is a connection.
func (d *backend) probe(u *url.URL) {
	c := &d.group.b.config
	client := &http.Client{Transport: d.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for d.ctx.Err() == nil {
		if connected, _ := d.state(); connected {
			ctx, cancel := context.WithTimeout(d.ctx, min(c.probeTime, probeMost))
			err := c.probe(context.WithValue(ctx, probedKey{}, d.described()), client, u.String())
			cancel()
			if d.ctx.Err() != nil {
				return
			}
			d.setProbe(err)
		}
		timer := time.NewTimer(probePause(c.probeTime))
		select {
		case <-timer.C:
		case <-d.connects:
		case <-d.ctx.Done():
		}
		timer.Stop()
	}
}

// probePause returns a time from nine to eleven tenths of every, at random.
func probePause(every time.Duration) time.Duration {
	pause, more := every-every/10, rand.N(every/5+1)
	return pause + min(more, math.MaxInt64-pause)
}

// described returns the endpoint as the resolver has described it last.
func (d *backend) described() Endpoint {
	d.group.mu.Lock()
	defer d.group.mu.Unlock()
	for _, e := range d.group.endpoints {
		if e.backend == d {
			return e.Endpoint
		}
	}
	return Endpoint{Addr: d.addr}
}
