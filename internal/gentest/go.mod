module github.com/seed-b7c59c10/connect/internal/gentest

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/bufbuild/protocompile v0.14.1
	github.com/seed-b7c59c10/connect v0.1.0
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/sync v0.8.0 // indirect

replace github.com/seed-b7c59c10/connect => ../..

tool google.golang.org/protobuf/cmd/protoc-gen-go
