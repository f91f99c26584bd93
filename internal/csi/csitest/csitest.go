// Package csitest is the Secrets Store CSI driver's half of the protocol, for tests.
// Its messages are those of a descriptor and not of package csi, so that both must
// agree on the wire.
package csitest

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A Driver asks a provider.
type Driver struct {
	conn  *grpc.ClientConn
	types protoreflect.MessageDescriptors
}

// A File is one of a mount.
type File struct {
	Mode     int64
	Contents string
}

// A Mount is what a provider answers. Versions are by the id of the object.
type Mount struct {
	Files    map[string]File
	Versions map[string]string
}

// Dial returns a driver that asks at a socket, until the test ends.
func Dial(t testing.TB, socket string) *Driver {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f, err := protodesc.NewFile(descriptor(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Driver{conn, f.Messages()}
}

func descriptor() *descriptorpb.FileDescriptorProto {
	type field struct {
		name string
		n    int32
		typ  descriptorpb.FieldDescriptorProto_Type
		of   string // a message, repeated
	}
	const str, num, raw = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_TYPE_BYTES
	const msg = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	message := func(name string, fields ...field) *descriptorpb.DescriptorProto {
		d := &descriptorpb.DescriptorProto{Name: &name}
		for _, f := range fields {
			label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
			p := &descriptorpb.FieldDescriptorProto{Name: &f.name, Number: &f.n, Type: &f.typ}
			if f.typ == msg {
				label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
				p.TypeName = proto.String(".v1alpha1." + f.of)
			}
			p.Label = &label
			d.Field = append(d.Field, p)
		}
		return d
	}
	return &descriptorpb.FileDescriptorProto{
		Name: proto.String("service.proto"), Package: proto.String("v1alpha1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			message("VersionRequest", field{"version", 1, str, ""}),
			message("VersionResponse", field{"version", 1, str, ""}, field{"runtime_name", 2, str, ""}, field{"runtime_version", 3, str, ""}),
			message("ObjectVersion", field{"id", 1, str, ""}, field{"version", 2, str, ""}),
			message("File", field{"path", 1, str, ""}, field{"mode", 2, num, ""}, field{"contents", 3, raw, ""}),
			message("MountRequest", field{"attributes", 1, str, ""}, field{"secrets", 2, str, ""}, field{"target_path", 3, str, ""},
				field{"permission", 4, str, ""}, field{"current_object_version", 5, msg, "ObjectVersion"}),
			message("MountResponse", field{"object_version", 1, msg, "ObjectVersion"}, field{"files", 3, msg, "File"}),
		},
	}
}

func (d *Driver) call(ctx context.Context, method string, in map[string]string) (protoreflect.Message, error) {
	req := dynamicpb.NewMessage(d.types.ByName(protoreflect.Name(method + "Request")))
	for name, value := range in {
		f := req.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return nil, fmt.Errorf("there is no field %s", name)
		}
		req.Set(f, protoreflect.ValueOfString(value))
	}
	res := dynamicpb.NewMessage(d.types.ByName(protoreflect.Name(method + "Response")))
	if err := d.conn.Invoke(ctx, "/v1alpha1.CSIDriverProvider/"+method, req, res); err != nil {
		return nil, err
	}
	return res, nil
}

func get(m protoreflect.Message, name string) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

// Version returns the name of the provider's program.
func (d *Driver) Version(ctx context.Context) (string, error) {
	res, err := d.call(ctx, "Version", map[string]string{"version": "v1alpha1"})
	if err != nil {
		return "", err
	}
	return get(res, "runtime_name").String(), nil
}

// Mount asks for a mount with attributes.
func (d *Driver) Mount(ctx context.Context, attributes map[string]string) (Mount, error) {
	return d.MountWith(ctx, attributes, map[string]string{})
}

// MountWith asks for a mount with attributes, and the secrets of nodePublishSecretRef.
func (d *Driver) MountWith(ctx context.Context, attributes, secrets map[string]string) (Mount, error) {
	text, err := json.Marshal(attributes)
	if err != nil {
		return Mount{}, err
	}
	hidden, err := json.Marshal(secrets)
	if err != nil {
		return Mount{}, err
	}
	res, err := d.call(ctx, "Mount", map[string]string{"attributes": string(text), "secrets": string(hidden), "target_path": "/mnt", "permission": "420"})
	if err != nil {
		return Mount{}, err
	}
	out := Mount{Files: make(map[string]File), Versions: make(map[string]string)}
	files, versions := get(res, "files").List(), get(res, "object_version").List()
	for i := range files.Len() {
		f := files.Get(i).Message()
		out.Files[get(f, "path").String()] = File{get(f, "mode").Int(), string(get(f, "contents").Bytes())}
	}
	for i := range versions.Len() {
		v := versions.Get(i).Message()
		out.Versions[get(v, "id").String()] = get(v, "version").String()
	}
	return out, nil
}
