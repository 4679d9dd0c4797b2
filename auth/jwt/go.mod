module github.com/seed-b7c59c10/connect/auth/jwt

go 1.26.0

replace github.com/seed-b7c59c10/connect => ../..

require (
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/seed-b7c59c10/connect v0.1.0
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/net v0.60.0 // indirect
