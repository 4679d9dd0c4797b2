//go:build guide

// SPDX-License-Identifier: Apache-2.0

// This file imports the packages that the guide's blocks import, so that the module requires them.

package guidetest

import (
	_ "connectrpc.com/connect"
	_ "github.com/go-chi/chi/v5"
	_ "github.com/gorilla/mux"
	_ "github.com/hashicorp/consul/api"
	_ "github.com/nats-io/nats.go"
	_ "github.com/nats-io/nats.go/jetstream"
	_ "github.com/quic-go/quic-go/http3"
	_ "github.com/seed-b7c59c10/connect/auth/jwt"
	_ "github.com/seed-b7c59c10/connect/balance"
	_ "github.com/seed-b7c59c10/connect/compress/br"
	_ "github.com/seed-b7c59c10/connect/compress/zstd"
	_ "github.com/seed-b7c59c10/connect/consul"
	_ "github.com/seed-b7c59c10/connect/consul/consultest"
	_ "github.com/seed-b7c59c10/connect/cors"
	_ "github.com/seed-b7c59c10/connect/drain"
	_ "github.com/seed-b7c59c10/connect/grpcadapter"
	_ "github.com/seed-b7c59c10/connect/h2"
	_ "github.com/seed-b7c59c10/connect/lambda"
	_ "github.com/seed-b7c59c10/connect/nats"
	_ "github.com/seed-b7c59c10/connect/overload"
	_ "github.com/seed-b7c59c10/connect/retry"
	_ "github.com/seed-b7c59c10/connect/server"
	_ "github.com/seed-b7c59c10/connect/telemetry"
	_ "github.com/seed-b7c59c10/connect/validate"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/grpc"
	_ "google.golang.org/grpc/credentials/insecure"
)
