// SPDX-License-Identifier: Apache-2.0

// Command caddy is Caddy with the module greet, a handler of this library. It has what HTTP
// servers with a Caddyfile need, and no other of Caddy's modules: no proxy, no files, no
// templates. For all of them import github.com/caddyserver/caddy/v2/modules/standard instead.
//
//	go run . run                  with the Caddyfile of this folder
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile" // the format Caddyfile, and its site blocks
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"         // servers, with certificates and events
	_ "github.com/caddyserver/caddy/v2/modules/caddytls/standardstek"

	_ "github.com/seed-b7c59c10/connect/examples/deploy/caddy/greet"
)

func main() { caddycmd.Main() }
