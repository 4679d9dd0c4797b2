module github.com/seed-b7c59c10/connect/internal/compat

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/seed-b7c59c10/connect v0.1.0
	golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba
	golang.org/x/net v0.62.0
	golang.org/x/tools v0.52.0
	google.golang.org/protobuf v1.36.12
)

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/seed-b7c59c10/connect => ../..
