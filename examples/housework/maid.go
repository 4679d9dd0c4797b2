// SPDX-License-Identifier: Apache-2.0

// The service: it checks requests, and changes the file.

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	houseworkv1 "github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1"
)

const (
	maxTitle  = 200    // characters
	maxList   = 100    // titles or numbers in a request
	maxChores = 10_000 // in the file
)

// A maid implements housework.v1.RobotMaid.
type maid struct{ file *file }

// Add writes the chores to the file before it answers: what a client has an answer for
// is kept.
func (m *maid) Add(ctx context.Context, req *houseworkv1.AddRequest) (*houseworkv1.AddResponse, error) {
	if err := checkCount("titles", len(req.Titles)); err != nil {
		return nil, err
	}
	for _, title := range req.Titles {
		if n := utf8.RuneCountInString(title); n > maxTitle || strings.TrimSpace(title) == "" {
			return nil, connect.NewError(connect.CodeInvalidArgument,
				fmt.Errorf("reading titles: got one of %d characters, want 1 to %d that are not all spaces", n, maxTitle))
		}
	}
	res := &houseworkv1.AddResponse{}
	err := m.file.change(ctx, func(all *houseworkv1.Chores) error {
		if len(all.Chores)+len(req.Titles) > maxChores {
			return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("adding chores: there are %d already, at most %d fit", len(all.Chores), maxChores))
		}
		for _, title := range req.Titles {
			all.LastId++
			res.Chores = append(res.Chores, &houseworkv1.Chore{Id: all.LastId, Title: title, AddedBy: caller(ctx)})
		}
		all.Chores = append(all.Chores, res.Chores...)
		return nil
	})
	return res, err
}

// Complete marks all chores of the request, or none if one of them does not exist.
func (m *maid) Complete(ctx context.Context, req *houseworkv1.CompleteRequest) (*houseworkv1.CompleteResponse, error) {
	if err := checkCount("ids", len(req.Ids)); err != nil {
		return nil, err
	}
	res := &houseworkv1.CompleteResponse{}
	err := m.file.change(ctx, func(all *houseworkv1.Chores) error {
		for _, id := range req.Ids {
			i := slices.IndexFunc(all.Chores, func(c *houseworkv1.Chore) bool { return c.Id == id })
			if i < 0 {
				return connect.NewError(connect.CodeNotFound, fmt.Errorf("completing chores: no chore has the number %d; List has them all", id))
			}
			if all.Chores[i].CompletedBy == "" {
				all.Chores[i].CompletedBy = caller(ctx)
			}
			res.Chores = append(res.Chores, all.Chores[i])
		}
		return nil
	})
	return res, err
}

// List answers from memory.
func (m *maid) List(_ context.Context, req *houseworkv1.ListRequest) (*houseworkv1.ListResponse, error) {
	res := &houseworkv1.ListResponse{Chores: m.file.read().Chores}
	if req.OpenOnly {
		res.Chores = slices.DeleteFunc(slices.Clone(res.Chores), func(c *houseworkv1.Chore) bool { return c.CompletedBy != "" })
	}
	return res, nil
}

func checkCount(field string, n int) error {
	if n < 1 || n > maxList {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("reading %s: got %d, want 1 to %d", field, n, maxList))
	}
	return nil
}

// caller returns the name of the person who calls. Without one no call comes here: the guard
// refuses it.
func caller(ctx context.Context) string {
	identity, _ := auth.FromContext(ctx)
	return identity.Subject
}
