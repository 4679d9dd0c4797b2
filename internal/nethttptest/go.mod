module github.com/seed-b7c59c10/connect/internal/nethttptest

go 1.26.0
