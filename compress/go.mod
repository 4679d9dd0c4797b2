module github.com/seed-b7c59c10/connect/compress

go 1.26.0

replace github.com/seed-b7c59c10/connect => ..

require (
	github.com/andybalholm/brotli v1.2.8
	github.com/klauspost/compress v1.20.3
	github.com/seed-b7c59c10/connect v0.1.0
	go.uber.org/goleak v1.3.0
	google.golang.org/protobuf v1.36.12
)
