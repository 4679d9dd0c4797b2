// SPDX-License-Identifier: Apache-2.0

// Identities of services: the SPIFFE URIs in the certificates of the mesh.

package consul

import (
	"fmt"
	"net/url"
	"strings"
)

// DefaultNamespace and DefaultPartition are where services are without Consul Enterprise.
const (
	DefaultNamespace = "default"
	DefaultPartition = "default"
)

// spiffeMax is how many bytes a SPIFFE ID may have. [SPIFFE-ID, section 2.3]
const spiffeMax = 2048

const spiffeForm = "expected the form spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>"

// An Identity is that of a service of the mesh.
type Identity struct {
	// TrustDomain is the cluster's, in lower case, such as "11111111-….consul".
	TrustDomain string
	// Partition is "default" where the URI names none.
	Partition  string
	Namespace  string
	Datacenter string
	Service    string
}

// ParseIdentity parses the SPIFFE URI of a service, as certificates of the mesh have it. The
// URIs of agents, gateways and authorities are errors.
func ParseIdentity(uri string) (Identity, error) {
	if len(uri) > spiffeMax {
		return Identity{}, fmt.Errorf("consul: parsing a SPIFFE ID of %d bytes: expected at most %d", len(uri), spiffeMax)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return Identity{}, fmt.Errorf("consul: parsing the SPIFFE ID %q: %s", uri, spiffeForm)
	}
	return identityOf(u)
}

// identityOf is ParseIdentity for a URL.
func identityOf(u *url.URL) (Identity, error) {
	fail := func(cause string) (Identity, error) {
		return Identity{}, fmt.Errorf("consul: parsing the SPIFFE ID %q: %s: %s", u, cause, spiffeForm)
	}
	switch {
	case !strings.EqualFold(u.Scheme, "spiffe"):
		return fail("the scheme is not spiffe")
	case u.Host == "" || u.Port() != "" || strings.HasSuffix(u.Host, ":") || u.User != nil:
		return fail("no trust domain, or more than that")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return fail("a query or a fragment")
	case u.Path == "":
		return fail("it is the ID of a certificate authority")
	}
	// Escapes are part of a segment: the path is split before it is unescaped.
	segments := strings.Split(u.EscapedPath(), "/")[1:]
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil || plain == "" || plain == "." || plain == ".." {
			return fail("a segment of the path is empty, or no name")
		}
		segments[i] = plain
	}
	id := Identity{TrustDomain: strings.ToLower(u.Host), Partition: DefaultPartition}
	if segments[0] == "ap" && len(segments) > 2 {
		id.Partition, segments = segments[1], segments[2:]
	}
	switch {
	case segments[0] == "agent":
		return fail("it is the ID of an agent")
	case segments[0] == "gateway":
		return fail("it is the ID of a gateway")
	case len(segments) != 6 || segments[0] != "ns" || segments[2] != "dc" || segments[4] != "svc":
		return fail("it is not that of a service")
	}
	id.Namespace, id.Datacenter, id.Service = segments[1], segments[3], segments[5]
	return id, nil
}

// URI returns the SPIFFE URI. The default partition is left out, as Consul does.
func (i Identity) URI() string {
	var b strings.Builder
	b.WriteString("spiffe://" + i.TrustDomain)
	if i.Partition != "" && i.Partition != DefaultPartition {
		b.WriteString("/ap/" + url.PathEscape(i.Partition))
	}
	b.WriteString("/ns/" + url.PathEscape(i.Namespace) + "/dc/" + url.PathEscape(i.Datacenter) + "/svc/" + url.PathEscape(i.Service))
	return b.String()
}

// String returns the URI.
func (i Identity) String() string { return i.URI() }

// fits reports whether the identity is a wanted one. An empty TrustDomain, and "" for a
// datacenter, stand for any. Consul's names do not differ by case.
func (i Identity) fits(want Identity) bool {
	same := func(got, want, otherwise string) bool {
		if want == "" {
			want = otherwise
		}
		return want == "" || strings.EqualFold(got, want)
	}
	return same(i.TrustDomain, want.TrustDomain, "") && same(i.Partition, want.Partition, DefaultPartition) &&
		same(i.Namespace, want.Namespace, DefaultNamespace) && same(i.Datacenter, want.Datacenter, "") &&
		strings.EqualFold(i.Service, want.Service)
}
