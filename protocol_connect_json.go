// SPDX-License-Identifier: Apache-2.0

// The JSON of the Connect protocol: errors and end-of-stream messages.

package connect

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
)

// wireError is an error as JSON. [Connect protocol, "Error"]
type wireError struct {
	Code    json.RawMessage `json:"code"`
	Message string          `json:"message,omitempty"`
	Details []wireDetail    `json:"details,omitempty"`
}

// wireDetail is an error detail as JSON. Debug is for people who read the bytes;
// programs ignore it.
type wireDetail struct {
	Type  string          `json:"type"`
	Value string          `json:"value"`
	Debug json.RawMessage `json:"debug,omitempty"`
}

// wireEndStream is an end-of-stream message as JSON. [Connect protocol,
// "EndStreamResponse"]
type wireEndStream struct {
	Error    *wireError  `json:"error,omitempty"`
	Metadata http.Header `json:"metadata,omitempty"`
}

func newWireError(e *Error) *wireError {
	w := &wireError{
		Code:    json.RawMessage(`"` + e.code.String() + `"`),
		Message: e.text(),
		Details: make([]wireDetail, len(e.details)),
	}
	for i, d := range e.details {
		w.Details[i] = wireDetail{d.Type(), base64.RawStdEncoding.EncodeToString([]byte(d.value)), debugJSON(d)}
	}
	return w
}

// debugMax bounds the bytes of a detail that is also sent as JSON for people, and those
// of the JSON. JSON within it cannot be nested so deeply that encoding/json refuses it.
const debugMax = 16 << 10

// debugJSON returns a detail as JSON, nil if it is too large or the program does not have
// its type. What the peer has sent stays, so that a program without the type can pass it
// on.
func debugJSON(d *ErrorDetail) json.RawMessage {
	switch {
	case len(d.debug) > debugMax:
		return nil
	case d.debug != "":
		return json.RawMessage(d.debug)
	case len(d.value) > debugMax:
		return nil
	}
	msg, err := d.Value()
	if err != nil {
		return nil
	}
	data, err := protojson.Marshal(msg)
	if err != nil || len(data) > debugMax {
		return nil
	}
	return data
}

// error is the inverse of newWireError. An error without a valid code gets the code
// implied, which its HTTP status or its frame implies. Details that cannot be
// decoded are left out.
func (w *wireError) error(implied Code) *Error {
	e := &Error{code: implied, cause: messageError(w.Message), wire: true}
	var name string
	var code Code
	if json.Unmarshal(w.Code, &name) == nil && code.UnmarshalText([]byte(name)) == nil && code.valid() {
		e.code = code
	}
	for _, d := range w.Details {
		value, err := DecodeBinaryHeader(d.Value)
		if err != nil || d.Type == "" {
			continue
		}
		typeURL := d.Type
		if !strings.Contains(typeURL, "/") {
			typeURL = typeURLPrefix + typeURL
		}
		e.details = append(e.details, &ErrorDetail{typeURL: typeURL, value: string(value), debug: string(d.Debug)})
	}
	return e
}

// marshalError returns an error as the body of a unary response.
func marshalError(e *Error) []byte {
	return mustJSON(newWireError(e))
}

// unmarshalError is the inverse of marshalError.
func unmarshalError(data []byte, implied Code) (*Error, error) {
	w := new(wireError)
	if err := json.Unmarshal(data, w); err != nil {
		return nil, err
	}
	return w.error(implied), nil
}

// marshalEndStream returns an end as the payload of a stream's last frame.
func marshalEndStream(e end) []byte {
	w := wireEndStream{Metadata: e.metadata()}
	if e.anyTrailer {
		for key, values := range e.trailer {
			if len(values) == 0 && len(w.Metadata[key]) == 0 {
				w.Metadata[key] = values
			}
		}
	}
	if e.err != nil {
		w.Error = newWireError(e.err)
	}
	return mustJSON(w)
}

// unmarshalEndStream is the inverse of marshalEndStream.
func unmarshalEndStream(data []byte) (end, error) {
	var w wireEndStream
	if err := json.Unmarshal(data, &w); err != nil {
		return end{}, err
	}
	e := end{trailer: make(http.Header, len(w.Metadata))}
	for key, values := range w.Metadata {
		if len(values) > 0 {
			key = http.CanonicalHeaderKey(key)
			e.trailer[key] = append(e.trailer[key], values...)
		}
	}
	if w.Error != nil {
		e.err = w.Error.error(CodeUnknown)
	}
	return e, nil
}

// mustJSON marshals values that cannot fail: strings, and the JSON of details up to
// debugMax.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("connect: " + err.Error())
	}
	return data
}
