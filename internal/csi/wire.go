package csi

import (
	"context"
	"fmt"
	"io/fs"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of v1alpha1.CSIDriverProvider, as the driver's service.proto has them.
// There are so few that they are written by hand.
type (
	versionRequest  struct{ version string }                              // 1
	versionResponse struct{ version, runtimeName, runtimeVersion string } // 1, 2, 3

	mountRequest struct {
		attributes string          // 1: a JSON object of texts
		secrets    string          // 2: likewise
		targetPath string          // 3
		permission string          // 4: decimal
		current    []objectVersion // 5
	}
	mountResponse struct {
		versions []objectVersion // 1
		files    []file          // 3
	}
	objectVersion struct{ id, version string } // 1, 2

	file struct {
		path     string      // 1
		mode     fs.FileMode // 2
		contents []byte      // 3
	}
)

// A message writes and reads itself.
type message interface {
	append(b []byte) []byte
	set(n protowire.Number, text []byte) error
}

func text(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func (m *versionRequest) append(b []byte) []byte { return text(b, 1, m.version) }
func (m *versionRequest) set(n protowire.Number, v []byte) error {
	if n == 1 {
		m.version = string(v)
	}
	return nil
}

func (m *versionResponse) append(b []byte) []byte {
	return text(text(text(b, 1, m.version), 2, m.runtimeName), 3, m.runtimeVersion)
}

func (m *versionResponse) set(n protowire.Number, v []byte) error {
	switch n {
	case 1:
		m.version = string(v)
	case 2:
		m.runtimeName = string(v)
	case 3:
		m.runtimeVersion = string(v)
	}
	return nil
}

func (m *mountRequest) append(b []byte) []byte {
	b = text(text(text(text(b, 1, m.attributes), 2, m.secrets), 3, m.targetPath), 4, m.permission)
	return appendVersions(b, 5, m.current)
}

func (m *mountRequest) set(n protowire.Number, v []byte) error {
	switch n {
	case 1:
		m.attributes = string(v)
	case 2:
		m.secrets = string(v)
	case 3:
		m.targetPath = string(v)
	case 4:
		m.permission = string(v)
	case 5:
		return addVersion(&m.current, v)
	}
	return nil
}

func (m *mountResponse) append(b []byte) []byte {
	b = appendVersions(b, 1, m.versions)
	for _, f := range m.files {
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), f.append(nil))
	}
	return b
}

func (m *mountResponse) set(n protowire.Number, v []byte) error {
	switch n {
	case 1:
		return addVersion(&m.versions, v)
	case 3:
		var f file
		m.files = append(m.files, f)
		return read(v, &m.files[len(m.files)-1])
	}
	return nil
}

func appendVersions(b []byte, n protowire.Number, list []objectVersion) []byte {
	for _, v := range list {
		b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v.append(nil))
	}
	return b
}

func addVersion(list *[]objectVersion, text []byte) error {
	var v objectVersion
	if err := read(text, &v); err != nil {
		return err
	}
	*list = append(*list, v)
	return nil
}

func (v *objectVersion) append(b []byte) []byte { return text(text(b, 1, v.id), 2, v.version) }
func (v *objectVersion) set(n protowire.Number, value []byte) error {
	switch n {
	case 1:
		v.id = string(value)
	case 2:
		v.version = string(value)
	}
	return nil
}

func (f *file) append(b []byte) []byte {
	b = text(b, 1, f.path)
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(f.mode))
	return protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), f.contents)
}

func (f *file) set(n protowire.Number, v []byte) error {
	switch n {
	case 1:
		f.path = string(v)
	case 3:
		f.contents = append([]byte(nil), v...)
	}
	return nil
}

// read reads the fields of a message. Numbers are read by no message but file, whose
// mode the driver alone reads; unknown fields are passed over, as protobuf demands.
func read(b []byte, m message) error {
	for len(b) > 0 {
		n, typ, used := protowire.ConsumeTag(b)
		if used < 0 {
			return protowire.ParseError(used)
		}
		b = b[used:]
		if typ != protowire.BytesType {
			used = protowire.ConsumeFieldValue(n, typ, b)
			if f, ok := m.(*file); ok && n == 2 && typ == protowire.VarintType && used >= 0 {
				mode, _ := protowire.ConsumeVarint(b)
				f.mode = fs.FileMode(mode)
			}
			if used < 0 {
				return protowire.ParseError(used)
			}
			b = b[used:]
			continue
		}
		v, used := protowire.ConsumeBytes(b)
		if used < 0 {
			return protowire.ParseError(used)
		}
		if err := m.set(n, v); err != nil {
			return err
		}
		b = b[used:]
	}
	return nil
}

// wire is the codec of these messages.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(message)
	if !ok {
		return nil, fmt.Errorf("csi: %T is no message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.append(nil))}, nil
}

func (wire) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(message)
	if !ok {
		return fmt.Errorf("csi: %T is no message", v)
	}
	return read(data.Materialize(), m)
}

// service is v1alpha1.CSIDriverProvider.
var service = grpc.ServiceDesc{
	ServiceName: "v1alpha1.CSIDriverProvider",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Version", Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			req := new(versionRequest)
			if err := decode(req); err != nil {
				return nil, err
			}
			return &versionResponse{version: "v1alpha1", runtimeName: "gatehouse-node", runtimeVersion: srv.(*Provider).conf.Version}, nil
		}},
		{MethodName: "Mount", Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			req := new(mountRequest)
			if err := decode(req); err != nil {
				return nil, err
			}
			return srv.(*Provider).mount(ctx, req)
		}},
	},
}
