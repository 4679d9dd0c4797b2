// SPDX-License-Identifier: Apache-2.0

// Discovery: a server answers the questions that NATS's services answer, so that their tools
// list it. [NATS ADR-32, "Service API"]

package natsrpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
)

// schemaMax bounds the schema of a service in the answers.
const schemaMax = 64 << 10

// What ADR-32 allows as a name, and semver.org as a version.
var (
	discoveryName    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	discoveryVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
)

// Discovery lists the server among the services of NATS: tools such as `nats micro` see it
// under the name, with an endpoint for each of its [Services], their subjects and queue
// group, and with counts and times of calls. The server answers on the subjects $SRV.PING,
// $SRV.INFO and $SRV.STATS, alone and followed by its name, and by its name and id; its user
// needs the permission to subscribe to them. Without Discovery it does not answer.
//
// A call counts as an error if the server refused it, if its handler panicked or answered
// with an HTTP status of 400 or more, and if it ended before its response was complete. The
// status of a gRPC call is in its trailers, and does not count.
//
// The metadata of an endpoint have the full name of the "service", and for a service whose
// generated code the program links, its "procedures", separated by commas, and the "schema":
// a google.protobuf.FileDescriptorSet in base64, imports first. A schema of more than 64 KiB
// is left out, and so are all of them if they need more than half of the payload limit of
// the NATS server: an answer is one message.
//
// Discovery panics if name is empty or has other characters than letters, digits, _ and -,
// and if version is no semantic version, such as 1.0.0.
func Discovery(name, version string) ServerOption {
	switch {
	case !discoveryName.MatchString(name):
		panic(fmt.Sprintf("natsrpc: Discovery: name %q: want letters, digits, _ and -", name))
	case !discoveryVersion.MatchString(version):
		panic(fmt.Sprintf("natsrpc: Discovery: version %q: want a semantic version such as 1.0.0", version))
	}
	return serverOption(func(c *config) { c.discoveryName, c.discoveryVersion = name, version })
}

// A discovery answers the questions about a server. Its fields are set before it answers.
type discovery struct {
	identity  micro.ServiceIdentity
	started   time.Time
	endpoints []*endpoint // in the order of the services
	subs      []*nats.Subscription
}

// An endpoint is a service of a server, and counts its calls.
type endpoint struct {
	info micro.EndpointInfo

	mu     sync.Mutex
	calls  int
	errors int
	last   string // the text of the last error
	took   time.Duration
}

// newDiscovery returns the discovery of a server with these settings, nil without the option.
func newDiscovery(c config) *discovery {
	if c.discoveryName == "" {
		return nil
	}
	d := &discovery{started: time.Now().UTC(), identity: micro.ServiceIdentity{
		Name: c.discoveryName, ID: nuid.Next(), Version: c.discoveryVersion, Metadata: map[string]string{"rpc-version": version, "prefix": c.prefix},
	}}
	for _, name := range c.services {
		d.endpoints = append(d.endpoints, &endpoint{info: micro.EndpointInfo{
			Name: strings.ReplaceAll(name, ".", "-"), Subject: c.prefix + "." + name + ".*", QueueGroup: c.queue, Metadata: describe(name),
		}})
	}
	return d
}

// describe returns the metadata of a service.
func describe(service string) map[string]string {
	m := map[string]string{"service": service}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return m
	}
	described, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return m
	}
	var procedures []string
	for i := range described.Methods().Len() {
		procedures = append(procedures, string(described.Methods().Get(i).Name()))
	}
	m["procedures"] = strings.Join(procedures, ",")
	set := new(descriptorpb.FileDescriptorSet)
	addFile(set, make(map[string]bool), described.ParentFile())
	if data, err := proto.Marshal(set); err == nil && len(data) <= schemaMax {
		m["schema"] = base64.StdEncoding.EncodeToString(data)
	}
	return m
}

// addFile adds a file after its imports, each once.
func addFile(set *descriptorpb.FileDescriptorSet, added map[string]bool, file protoreflect.FileDescriptor) {
	if added[file.Path()] || file.IsPlaceholder() {
		return
	}
	added[file.Path()] = true
	for i := range file.Imports().Len() {
		addFile(set, added, file.Imports().Get(i).FileDescriptor)
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
}

// listen subscribes to the questions. It does not wait for the NATS server.
func (d *discovery) listen(nc *nats.Conn) error {
	for verb, answer := range map[micro.Verb]func() any{
		micro.PingVerb:  func() any { return micro.Ping{ServiceIdentity: d.identity, Type: micro.PingResponseType} },
		micro.InfoVerb:  func() any { return d.info(int(nc.MaxPayload())) },
		micro.StatsVerb: func() any { return d.stats() },
	} {
		for _, name := range [][2]string{{"", ""}, {d.identity.Name, ""}, {d.identity.Name, d.identity.ID}} {
			subject, err := micro.ControlSubject(verb, name[0], name[1])
			if err != nil {
				return errorf(connect.CodeInternal, "subject of %v: %w", verb, err)
			}
			sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
				if data, err := json.Marshal(answer()); err == nil && m.Reply != "" {
					_ = m.Respond(data) // who asked asks again
				}
			})
			if err != nil {
				return errorf(connect.CodeUnavailable, "subscribing to %q: %w", subject, err)
			}
			d.subs = append(d.subs, sub)
		}
	}
	return nil
}

// asks reports whether a subject is that of a question.
func (d *discovery) asks(subject string) bool {
	return d != nil && strings.HasPrefix(subject, micro.APIPrefix+".")
}

// end ends the answers.
func (d *discovery) end() {
	if d == nil {
		return
	}
	for _, sub := range d.subs {
		_ = sub.Unsubscribe() // fails if the subscription has ended
	}
}

// info returns the answer to INFO, for a message of limit bytes.
func (d *discovery) info(limit int) micro.Info {
	info := micro.Info{ServiceIdentity: d.identity, Type: micro.InfoResponseType, Description: "RPC by HTTP over NATS"}
	schemas := 0
	for _, e := range d.endpoints {
		schemas += len(e.info.Metadata["schema"])
	}
	for _, e := range d.endpoints {
		i := e.info
		i.Metadata = maps.Clone(i.Metadata)
		if schemas > limit/2 {
			delete(i.Metadata, "schema")
		}
		info.Endpoints = append(info.Endpoints, i)
	}
	return info
}

func (d *discovery) stats() micro.Stats {
	stats := micro.Stats{ServiceIdentity: d.identity, Type: micro.StatsResponseType, Started: d.started}
	for _, e := range d.endpoints {
		stats.Endpoints = append(stats.Endpoints, e.stats())
	}
	return stats
}

func (e *endpoint) stats() *micro.EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &micro.EndpointStats{
		Name: e.info.Name, Subject: e.info.Subject, QueueGroup: e.info.QueueGroup,
		NumRequests: e.calls, NumErrors: e.errors, LastError: e.last, ProcessingTime: e.took,
	}
	if e.calls > 0 {
		s.AverageProcessingTime = e.took / time.Duration(e.calls)
	}
	return s
}

// count counts a call of a subject that has ended, with an error or nil.
func (d *discovery) count(subject string, took time.Duration, err error) {
	if d == nil {
		return
	}
	for _, e := range d.endpoints {
		if prefix := strings.TrimSuffix(e.info.Subject, "*"); strings.HasPrefix(subject, prefix) && !strings.Contains(subject[len(prefix):], ".") {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.calls++
			e.took += took
			if err != nil {
				e.errors++
				e.last = err.Error()
			}
			return
		}
	}
}
