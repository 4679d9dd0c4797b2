// SPDX-License-Identifier: Apache-2.0

// The interceptor's options.

package validate

import (
	"log/slog"

	"buf.build/go/protovalidate"

	"github.com/seed-b7c59c10/connect"
)

// An Option changes what an [Interceptor] checks and reports.
type Option func(*Interceptor)

// WithValidator sets the validator. The default is [protovalidate.GlobalValidator], whose
// compiled rules the whole program shares. A validator of [protovalidate.New] may have
// extensions, no native rules, or types that it has compiled. WithValidator panics if v is
// nil.
func WithValidator(v protovalidate.Validator) Option {
	if v == nil {
		panic("validate: WithValidator needs a validator")
	}
	return func(i *Interceptor) { i.validator = v }
}

// WithValidationOptions sets a function that returns the options for the messages of a
// procedure, such as a [protovalidate.WithFilter] for the fields that a procedure checks.
// It is called for each message, and must be safe for concurrent use. The default is
// none. WithValidationOptions panics if f is nil.
func WithValidationOptions(f func(connect.Spec) []protovalidate.ValidationOption) Option {
	if f == nil {
		panic("validate: WithValidationOptions needs a function")
	}
	return func(i *Interceptor) { i.options = f }
}

// WithValidateResponses makes the interceptor check responses, too: those that a handler
// sends, or that a client receives. By default they are not checked.
func WithValidateResponses() Option {
	return func(i *Interceptor) { i.responses = true }
}

// WithoutErrorDetails leaves violations out of errors' details. The text still has them.
func WithoutErrorDetails() Option {
	return func(i *Interceptor) { i.noDetails = true }
}

// WithFilter sets the function that reports whether the messages of a procedure are
// checked. It is called for each call, and must be safe for concurrent use. By default
// all procedures are. WithFilter panics if f is nil.
func WithFilter(f func(connect.Spec) bool) Option {
	if f == nil {
		panic("validate: WithFilter needs a function")
	}
	return func(i *Interceptor) { i.filter = f }
}

// WithLogger sets the logger for mistakes of the program: rules that cannot be compiled
// or evaluated, messages that are not Protobuf messages, and responses that break rules.
// Each kind of mistake is logged once for a type of message. The default is
// [slog.Default], as it is when a mistake is found. WithLogger panics if l is nil.
func WithLogger(l *slog.Logger) Option {
	if l == nil {
		panic("validate: WithLogger needs a logger")
	}
	return func(i *Interceptor) { i.logger = l }
}
