// Package etcd is the store's database on etcd: embedded in this process by
// default, or a cluster of its own, through the same client code.
//
// Start runs one member whose only client door asks for a client certificate
// and whose peer door does not exist; it notices a filling disk before etcd
// does, stops writes while decisions go on, and heals itself when there is room.
// Dial connects to that member, or to any other cluster.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Files are a certificate, its key and the authority that the other side's
// certificate must come from, all PEM. They are read anew for every connection
// but for the authority, so that a renewed certificate needs no restart.
type Files struct{ Cert, Key, CA string }

// A ClientConfig says which etcd to talk to.
type ClientConfig struct {
	// Endpoints are URLs, such as https://10.0.0.1:2379.
	Endpoints []string
	// TLS proves who we are. Its zero value is for http endpoints only.
	TLS Files
	// Limits are those of the cluster's own --max-txn-ops and
	// --max-request-bytes. Zero fields are etcd's defaults: 128 and 1.5 MiB.
	Limits store.Limits
	// Log takes the client's own messages; nil discards them.
	Log *slog.Logger
}

// A KV is a store.KV on etcd.
type KV struct {
	client *clientv3.Client
	limits store.Limits
}

// Dial returns the KV of a cluster. It does not wait for the cluster to answer.
func Dial(cfg ClientConfig) (*KV, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("etcd: no endpoints")
	}
	var tlsConfig *tls.Config
	if cfg.TLS != (Files{}) {
		var err error
		if tlsConfig, err = cfg.TLS.client(); err != nil {
			return nil, err
		}
	}
	limits := cfg.Limits
	if limits.Ops == 0 {
		limits.Ops = 128
	}
	if limits.Bytes == 0 {
		limits.Bytes = 3 << 19
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  tlsConfig,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize:   limits.Bytes + 1<<20,
		Logger:               zapTo(cfg.Log, new(atomic.Bool)),
		// A member that comes back must be found within the time after which
		// answers are refused, so the pause between attempts stays short.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return &KV{client: client, limits: limits}, nil
}

// client returns the TLS configuration of a client.
func (f Files) client() (*tls.Config, error) {
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fmt.Errorf("etcd client certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			return &pair, err
		},
	}, nil
}

func (f Files) roots() (*x509.CertPool, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("etcd certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("etcd certificate authority: no certificate in %s", f.CA)
	}
	return pool, nil
}

// Limits implements store.KV.
func (kv *KV) Limits() store.Limits { return kv.limits }

// Close implements store.KV.
func (kv *KV) Close() error { return kv.client.Close() }

// Get implements store.KV.
func (kv *KV) Get(ctx context.Context, key string) (store.Item, int64, error) {
	resp, err := kv.client.Get(ctx, key)
	if err != nil {
		return store.Item{}, 0, readError("get "+key, err)
	}
	item := store.Item{Key: key}
	if len(resp.Kvs) > 0 {
		item.Value, item.Rev = resp.Kvs[0].Value, resp.Kvs[0].ModRevision
	}
	return item, resp.Header.Revision, nil
}

// Range implements store.KV.
func (kv *KV) Range(ctx context.Context, prefix, after string, limit int, rev int64) (store.Page, error) {
	from := prefix
	if after >= prefix {
		from = after + "\x00"
	}
	resp, err := kv.client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)),
		clientv3.WithLimit(int64(limit)), clientv3.WithRev(rev))
	if err != nil {
		return store.Page{}, readError("range "+prefix, err)
	}
	page := store.Page{Rev: rev, More: resp.More, Items: make([]store.Item, len(resp.Kvs))}
	if rev == 0 {
		page.Rev = resp.Header.Revision
	}
	for i, item := range resp.Kvs {
		page.Items[i] = store.Item{Key: string(item.Key), Value: item.Value, Rev: item.ModRevision}
	}
	return page, nil
}

// Txn implements store.KV.
func (kv *KV) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	if n := max(len(conds), len(writes)); n > kv.limits.Ops {
		return 0, false, fmt.Errorf("%d operations, the limit is %d: %w", n, kv.limits.Ops, store.ErrTooLarge)
	}
	cmps := make([]clientv3.Cmp, len(conds))
	for i, c := range conds {
		cmps[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Rev)
	}
	ops := make([]clientv3.Op, len(writes))
	for i, w := range writes {
		if w.Delete {
			ops[i] = clientv3.OpDelete(w.Key)
		} else {
			ops[i] = clientv3.OpPut(w.Key, string(w.Value))
		}
	}
	resp, err := kv.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return 0, false, writeError("transaction", err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// Compact forgets the history before rev.
func (kv *KV) Compact(ctx context.Context, rev int64) error {
	if _, err := kv.client.Compact(ctx, rev, clientv3.WithCompactPhysical()); err != nil {
		return readError("compact", err)
	}
	return nil
}

// readError says what went wrong with a request that changes nothing.
func readError(what string, err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("%s: %w", what, store.ErrCompacted)
	}
	return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
}

// writeError says what went wrong with a write, and above all whether it may
// have happened all the same. Only errors that etcd gives before it proposes a
// write are certain; a time-out, a lost connection and a lost leader are not.
func writeError(what string, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%s: %w", what, store.ErrNoSpace)
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%s: %w: %w", what, store.ErrTooLarge, err)
	}
	if s, ok := status.FromError(err); ok {
		switch s.Code() {
		case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated:
			return fmt.Errorf("%s: %w", what, err)
		case codes.ResourceExhausted: // gRPC's own size limits, or too many requests
			return fmt.Errorf("%s: %w: %w", what, store.ErrTooLarge, err)
		}
	}
	var known rpctypes.EtcdError
	if errors.As(err, &known) && known.Code() == codes.InvalidArgument {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w: %w", what, store.ErrUnavailable, store.ErrUnknown, err)
}
