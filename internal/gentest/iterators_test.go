// SPDX-License-Identifier: Apache-2.0

// The option iterators: streams as iterators, on both sides and on both runtimes.

package gentest

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1iterators"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1iteratorspeer"
)

// iteratorServer serves KindsService except for its missing methods.
type iteratorServer struct {
	kindsv1iterators.UnimplementedKindsServiceHandler
}

func (iteratorServer) Double(ctx context.Context, req *kindsv1.Number) (*kindsv1.Number, error) {
	return simpleServer{}.Double(ctx, req)
}

func (iteratorServer) Sum(_ context.Context, reqs iter.Seq2[*kindsv1.Number, error]) (*kindsv1.Number, error) {
	sum := int64(0)
	for req, err := range reqs {
		if err != nil {
			return nil, err
		}
		sum += req.GetValue()
	}
	return number(sum), nil
}

func (iteratorServer) Count(_ context.Context, req *kindsv1.Number) iter.Seq2[*kindsv1.Number, error] {
	return func(yield func(*kindsv1.Number, error) bool) {
		if req.GetValue() < 0 {
			yield(nil, connect.NewError(connect.CodeOutOfRange, errNegative))
			return
		}
		for n := range req.GetValue() {
			if !yield(number(n+1), nil) {
				return
			}
		}
	}
}

func (iteratorServer) Add(_ context.Context, reqs iter.Seq2[*kindsv1.Number, error]) iter.Seq2[*kindsv1.Number, error] {
	return func(yield func(*kindsv1.Number, error) bool) {
		sum := int64(0)
		for req, err := range reqs {
			sum += req.GetValue()
			if !yield(number(sum), err) {
				return
			}
		}
	}
}

// values returns an iterator over numbers.
func values(numbers ...int64) iter.Seq2[*kindsv1.Number, error] {
	return func(yield func(*kindsv1.Number, error) bool) {
		for _, value := range numbers {
			if !yield(number(value), nil) {
				return
			}
		}
	}
}

// iteratorCaller calls with iterators.
type iteratorCaller struct {
	client kindsv1iterators.KindsServiceClient
}

func (c iteratorCaller) double(ctx context.Context, value int64) (int64, error) {
	res, err := c.client.Double(ctx, number(value))
	return res.GetValue(), err
}

func (c iteratorCaller) sum(ctx context.Context, numbers ...int64) (int64, error) {
	res, err := c.client.Sum(ctx, values(numbers...))
	return res.GetValue(), err
}

func (c iteratorCaller) count(ctx context.Context, value int64) (got []int64, err error) {
	for res, err := range c.client.Count(ctx, number(value)) {
		if err != nil {
			return got, err
		}
		got = append(got, res.GetValue())
	}
	return got, nil
}

func (c iteratorCaller) add(ctx context.Context, numbers ...int64) ([]int64, error) {
	stream, err := c.client.Add(ctx)
	if err != nil {
		return nil, err
	}
	return converse(stream, numbers...)
}

func (c iteratorCaller) missing(ctx context.Context) error {
	_, err := c.client.Missing(ctx, number(0))
	return err
}

func (c iteratorCaller) missingStream(ctx context.Context) error {
	stream, err := c.client.MissingStream(ctx)
	if err != nil {
		return err
	}
	return firstAnswer(stream)
}

func init() {
	styles = append(styles, style{
		name:  "iterators",
		mount: func() (string, http.Handler) { return kindsv1iterators.NewKindsServiceHandler(iteratorServer{}) },
		dial: func(httpClient *http.Client, baseURL, protocol string) caller {
			return iteratorCaller{kindsv1iterators.NewKindsServiceClient(httpClient, baseURL, clientOptions(protocol)...)}
		},
		code: func(err error) string { return connect.CodeOf(err).String() },
	})
}

// TestIteratorOnReference: the code for connect-go's runtime has the same types.
func TestIteratorOnReference(t *testing.T) {
	httpClient, url := serve(t, func() (string, http.Handler) { return kindsv1iteratorspeer.NewKindsServiceHandler(iteratorServer{}) })
	client := kindsv1iteratorspeer.NewKindsServiceClient(httpClient, url)
	if res, err := client.Sum(t.Context(), values(1, 2)); err != nil || res.GetValue() != 3 {
		t.Errorf("got %v, %v, want 3", res, err)
	}
	count := int64(0)
	for res, err := range client.Count(t.Context(), number(4)) {
		if count++; err != nil || res.GetValue() != count {
			t.Fatalf("got %v, %v, want %d", res, err, count)
		}
	}
	if count != 4 {
		t.Errorf("got %d messages, want 4", count)
	}
}

// endlessServer counts until its client is gone.
type endlessServer struct {
	iteratorServer
	begun chan struct{}
	ended chan error
}

func (s endlessServer) Count(ctx context.Context, _ *kindsv1.Number) iter.Seq2[*kindsv1.Number, error] {
	return func(yield func(*kindsv1.Number, error) bool) {
		for yield(number(1), nil) {
		}
		s.ended <- nil
	}
}

func (s endlessServer) Sum(_ context.Context, reqs iter.Seq2[*kindsv1.Number, error]) (*kindsv1.Number, error) {
	for _, err := range reqs {
		if err != nil {
			s.ended <- err
			return nil, err
		}
		s.begun <- struct{}{}
	}
	s.ended <- nil
	return number(0), nil
}

// TestIteratorEnds: a caller that leaves the loop ends the call, and an error among the requests aborts it.
func TestIteratorEnds(t *testing.T) {
	server := endlessServer{begun: make(chan struct{}, 1), ended: make(chan error, 1)}
	httpClient, url := serve(t, func() (string, http.Handler) { return kindsv1iterators.NewKindsServiceHandler(server) })
	client := kindsv1iterators.NewKindsServiceClient(httpClient, url)
	for res, err := range client.Count(t.Context(), number(0)) {
		if err != nil || res.GetValue() != 1 {
			t.Errorf("got %v, %v", res, err)
		}
		break
	}
	<-server.ended // the handler's iterator has ended

	broken := errors.New("broken")
	_, err := client.Sum(t.Context(), func(yield func(*kindsv1.Number, error) bool) {
		if yield(number(1), nil) {
			<-server.begun // the handler has the message
			yield(nil, broken)
		}
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the iterator's error", err)
	}
	if err := <-server.ended; err == nil {
		t.Error("the handler got a clean end of a stream that was aborted")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range client.Count(ctx, number(0)) {
		if connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("got %v, want canceled", err)
		}
	}
}
