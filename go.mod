module github.com/seed-b7c59c10/connect

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	golang.org/x/net v0.60.0
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/text v0.42.0 // indirect
