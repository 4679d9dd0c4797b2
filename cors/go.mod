module github.com/seed-b7c59c10/connect/cors

go 1.26.0

replace github.com/seed-b7c59c10/connect => ..

require (
	github.com/rs/cors v1.11.1
	github.com/seed-b7c59c10/connect v0.1.0
	google.golang.org/protobuf v1.36.12
)
