module github.com/seed-b7c59c10/connect

go 1.26.0

require google.golang.org/protobuf v1.36.12
