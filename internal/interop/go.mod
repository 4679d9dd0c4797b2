module github.com/seed-b7c59c10/connect/internal/interop

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	connectrpc.com/grpchealth v1.5.0
	connectrpc.com/grpcreflect v1.3.1
	github.com/aws/aws-lambda-go v1.55.1
	github.com/bufbuild/httplb v0.4.1
	github.com/seed-b7c59c10/connect v0.1.0
	github.com/seed-b7c59c10/connect/cors v0.1.0
	github.com/sony/gobreaker/v2 v2.4.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/rs/cors v1.11.1 // indirect
	golang.org/x/sync v0.23.0 // indirect
)

require (
	cloud.google.com/go/compute/metadata v0.9.0 // indirect
	github.com/cncf/xds/go v0.0.0-20260202195803-dba9d589def2 // indirect
	github.com/envoyproxy/protoc-gen-validate v1.3.3 // indirect
	github.com/seed-b7c59c10/connect/grpcadapter v0.1.0
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/oauth2 v0.36.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
)

replace github.com/seed-b7c59c10/connect => ../..

replace github.com/seed-b7c59c10/connect/grpcadapter => ../../grpcadapter

replace github.com/seed-b7c59c10/connect/cors => ../../cors
