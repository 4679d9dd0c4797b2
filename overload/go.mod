module github.com/seed-b7c59c10/connect/overload

go 1.26.0

replace github.com/seed-b7c59c10/connect => ..

require (
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/seed-b7c59c10/connect v0.1.0
	golang.org/x/time v0.16.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	github.com/influxdata/tdigest v0.0.1 // indirect
	golang.org/x/net v0.60.0 // indirect
)
