// SPDX-License-Identifier: Apache-2.0

// Package sample has one exported declaration of each form that the generator forwards.
package sample

import (
	"fmt"
	h "net/http"
)

const Single = 1

const (
	First = iota
	hidden
	Third
)

// Failure is a variable.
//
// Deprecated: use something else.
var Failure = fmt.Errorf("failed %d", hidden)

type Plain struct{ unexported }

type unexported struct{}

type Pair[K comparable, A, B any] struct {
	Key K
	A   A
	B   B
}

type HandlerOption interface{ apply(*Plain) }

func (Plain) Method() {}

func Nothing() {}

func Unnamed(int, ...string) {}

func Names(_ int, a, p string, rest ...Plain) (n, m int, err error) { return 0, 0, nil }

func NewPair[K comparable, A, B any](_ K, each func(h.Header) Plain, options ...HandlerOption) *Pair[K, A, B] {
	return nil
}

func WithAll(options ...HandlerOption) HandlerOption { return nil }

func notExported() {}
