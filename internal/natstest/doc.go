// SPDX-License-Identifier: Apache-2.0

// Package natstest has the tests of package nats that need a NATS server, which runs in the
// process of the tests. It is a module of its own, so that users of the client do not depend
// on the server.
package natstest
