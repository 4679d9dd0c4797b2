module connectrpc.com/connect

go 1.26.0

require (
	github.com/seed-b7c59c10/connect v0.1.0
	google.golang.org/protobuf v1.36.12
)

replace github.com/seed-b7c59c10/connect => ..
