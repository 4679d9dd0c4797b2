module github.com/seed-b7c59c10/connect

go 1.26.0

require (
	golang.org/x/net v0.60.0
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/text v0.42.0 // indirect
