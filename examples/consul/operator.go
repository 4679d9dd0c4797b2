// SPDX-License-Identifier: Apache-2.0

// What an operator does: with the agent in memory by its methods, with a real one by its API.

package main

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect/consul/consultest"
)

// An operator changes the mesh.
type operator interface {
	client() *api.Client
	intend(allow bool) error
	rotate(trustDomain string) error
	healthy(ctx context.Context, n int) error
	close()
}

func newOperator(address string) (operator, error) {
	if address == "" {
		agent, err := consultest.NewAgent()
		if err != nil {
			return nil, err
		}
		return &inMemory{agent, agent.Client("")}, nil
	}
	config := api.DefaultConfig()
	config.Address = address
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &realOne{client}, nil
}

// inMemory is the agent of package consultest.
type inMemory struct {
	agent *consultest.Agent
	api   *api.Client
}

func (o *inMemory) client() *api.Client { return o.api }
func (o *inMemory) rotate(string) error { return o.agent.RotateCA() }
func (o *inMemory) close()              { o.agent.Close() }

func (o *inMemory) intend(allow bool) error {
	if allow {
		o.agent.Allow("web", "greeter")
	} else {
		o.agent.Deny("web", "greeter")
	}
	return nil
}

func (o *inMemory) healthy(ctx context.Context, n int) error { return healthy(ctx, o.api, n) }

// A realOne is a real agent.
type realOne struct{ api *api.Client }

func (o *realOne) client() *api.Client { return o.api }

func (o *realOne) healthy(ctx context.Context, n int) error { return healthy(ctx, o.api, n) }

// intend replaces the intention, in the way that all versions of Consul have.
func (o *realOne) intend(allow bool) error {
	if err := o.forget(); err != nil {
		return err
	}
	action := api.IntentionActionDeny
	if allow {
		action = api.IntentionActionAllow
	}
	//lint:ignore SA1019 older versions have no other way
	_, _, err := o.api.Connect().IntentionCreate(&api.Intention{
		SourceName: "web", DestinationName: "greeter", SourceType: api.IntentionSourceConsul, Action: action,
	}, nil)
	return err
}

func (o *realOne) forget() error {
	list, _, err := o.api.Connect().Intentions(nil)
	for _, i := range list {
		if i.SourceName == "web" && i.DestinationName == "greeter" {
			//lint:ignore SA1019 older versions have no other way
			_, failed := o.api.Connect().IntentionDelete(i.ID, nil)
			err = errors.Join(err, failed)
		}
	}
	return err
}

// rotate gives the authority a root of this program.
func (o *realOne) rotate(trustDomain string) error {
	key, cert, err := consultest.NewRoot(trustDomain)
	if err != nil {
		return err
	}
	_, err = o.api.Connect().CASetConfig(&api.CAConfig{
		Provider: "consul", Config: map[string]any{"LeafCertTTL": "72h", "PrivateKey": key, "RootCert": cert},
	}, nil)
	return err
}

// close removes the intention of this program.
func (o *realOne) close() { _ = o.forget() }

// healthy waits until the agent has seen n healthy instances of greeter.
func healthy(ctx context.Context, client *api.Client, n int) error {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		found, _, err := client.Health().Connect("greeter", "", true, (&api.QueryOptions{}).WithContext(ctx))
		if err != nil || len(found) == n {
			return err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
