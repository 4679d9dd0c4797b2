// SPDX-License-Identifier: Apache-2.0

// Sets of files that a server's reflection sends, with all that they import.

package reflectcall

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
)

// maxFiles and maxSet bound what a server's reflection may send in all.
const (
	maxFiles = 10_000
	maxSet   = 64 << 20 // bytes
)

// A Set holds the files that were loaded. The zero value is empty. One goroutine at a time
// may use it; a set may outlive the calls that filled it.
type Set struct {
	Files []*descriptorpb.FileDescriptorProto // in the order of their arrival

	known map[string]*descriptorpb.FileDescriptorProto // by path, nil for one that is not needed
	size  int                                          // bytes of the files
	whole int                                          // the first so many of Files have their imports
}

// Find returns the file of the set that has a path, nil if there is none.
func (s *Set) Find(path string) *descriptorpb.FileDescriptorProto { return s.known[path] }

// Symbol loads the file that has a name, such as that of a service.
func (s *Set) Symbol(c *Call, name string) error { return s.load(c, askSymbol, name, name) }

// File loads a file by its path.
func (s *Set) File(c *Call, path string) error { return s.load(c, askFile, path, path) }

// Extension loads the file that has an extension of a message.
func (s *Set) Extension(c *Call, message string, number int32) error {
	question := protowire.AppendString(protowire.AppendTag(nil, extensionOf, protowire.BytesType), message)
	question = protowire.AppendVarint(protowire.AppendTag(question, extensionNumber, protowire.VarintType), uint64(number))
	return s.load(c, askExtension, string(question), fmt.Sprintf("extension %d of %s", number, message))
}

// Imports loads all files that those of the set import. Some servers do not send files of
// google/protobuf, or others that are linked into this program: the set goes without them.
// Other files that the server does not have are asked for again by the next call of Imports;
// the error is that of the first one, with CodeNotFound, after all others were loaded.
func (s *Set) Imports(c *Call) error {
	var lacks error
	asked := make(map[string]bool)
	for i := s.whole; i < len(s.Files); i++ { // the set grows meanwhile
		for _, path := range s.Files[i].GetDependency() {
			if _, known := s.known[path]; known || asked[path] {
				continue
			}
			if len(s.known)+len(asked) >= maxFiles {
				return s.tooLarge()
			}
			err := s.File(c, path)
			if err != nil && connect.CodeOf(err) != connect.CodeNotFound {
				return err
			}
			if _, missing := protoregistry.GlobalFiles.FindFileByPath(path); err != nil && missing != nil {
				asked[path] = true
				if lacks == nil {
					lacks = err
				}
				continue
			}
			if s.known[path] == nil {
				s.known[path] = nil // also if the server has answered with files of other paths
			}
		}
		if lacks == nil {
			s.whole = i + 1
		}
	}
	return lacks
}

func (s *Set) tooLarge() error {
	return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("the server's descriptors are more than %d files or %d bytes", maxFiles, maxSet))
}

// load asks for a file, and adds all files of the answer that are new to the set.
func (s *Set) load(c *Call, field protowire.Number, value, name string) error {
	if s.known == nil {
		s.known = make(map[string]*descriptorpb.FileDescriptorProto)
	}
	part, err := c.ask(field, value, gotFiles)
	if err != nil {
		return err
	}
	return eachField(part, func(field protowire.Number, data []byte, _ uint64) error {
		if field != filesProto {
			return nil
		}
		file := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(data, file); err != nil {
			return connect.NewError(connect.CodeInternal, fmt.Errorf("read the descriptor for %q: %w", name, err))
		}
		if s.known[file.GetName()] != nil {
			return nil
		}
		if s.size += len(data); s.size > maxSet || len(s.known) >= maxFiles {
			return s.tooLarge()
		}
		s.known[file.GetName()] = file
		s.Files = append(s.Files, file)
		return nil
	})
}
