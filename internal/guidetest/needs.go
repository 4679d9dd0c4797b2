//go:build guide

// SPDX-License-Identifier: Apache-2.0

// This file imports the packages that the guide's blocks import, so that the module requires them.

package guidetest

import (
	_ "connectrpc.com/connect"
	_ "github.com/go-chi/chi/v5"
	_ "github.com/gorilla/mux"
	_ "github.com/quic-go/quic-go/http3"
	_ "github.com/seed-b7c59c10/connect/compress/br"
	_ "github.com/seed-b7c59c10/connect/compress/zstd"
	_ "github.com/seed-b7c59c10/connect/h2"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/grpc"
	_ "google.golang.org/grpc/credentials/insecure"
)
