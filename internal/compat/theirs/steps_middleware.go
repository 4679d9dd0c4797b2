// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds the steps of what middleware finds and does.

package theirs

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// middlewareSteps are the steps of this file.
func middlewareSteps() []Step {
	return []Step{
		{"error writer announces trailers", announcedTrailers},
	}
}

func announcedTrailers(s *steps) {
	coded := connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	coded.Meta().Set("After", "one")
	writer := connect.NewErrorWriter(s.handlerOptions()...)
	for _, err := range []error{nil, coded} {
		w := record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			failure(s.t, "write", writer.Write(w, r, err))
		}), "application/grpc")
		names := strings.Split(w.Header().Get("Trailer"), ",")
		slices.Sort(names)
		s.t.Add("announced %q", names)
	}
}
