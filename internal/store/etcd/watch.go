package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A watcher has a gRPC stream of its own: a progress request is answered for
// all watches of a stream only when every one of them has caught up.
type watcher struct {
	stream  clientv3.Watcher
	ctx     context.Context // of the stream; progress requests find it by this
	cancel  context.CancelFunc
	batches chan store.Batch
}

// Watch implements store.KV.
func (kv *KV) Watch(ctx context.Context, prefix string, from int64) store.Watcher {
	// A member that lost its leader ends the watch instead of falling silent.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	w := &watcher{stream: clientv3.NewWatcher(kv.client), ctx: ctx, cancel: cancel, batches: make(chan store.Batch)}
	go w.run(prefix, from)
	return w
}

func (w *watcher) Batches() <-chan store.Batch { return w.batches }

func (w *watcher) Close() { w.cancel() }

// AskProgress implements store.Watcher.
func (w *watcher) AskProgress(ctx context.Context) error {
	// The metadata that WithRequireLeader set is part of the stream's name.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	stop := context.AfterFunc(w.ctx, cancel)
	defer stop()
	if err := w.stream.RequestProgress(ctx); err != nil {
		return readError("ask for progress", err)
	}
	return nil
}

func (w *watcher) run(prefix string, from int64) {
	defer close(w.batches)
	defer w.stream.Close()
	defer w.cancel()
	// The options leave fragments off, so that a response holds whole revisions.
	for resp := range w.stream.Watch(w.ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		batch := store.Batch{Rev: resp.Header.GetRevision()}
		switch err := resp.Err(); {
		case resp.CompactRevision != 0:
			batch.Err = fmt.Errorf("watch %s from revision %d: %w at %d", prefix, from, store.ErrCompacted, resp.CompactRevision)
		case err != nil:
			batch.Err = readError("watch "+prefix, err)
		case len(resp.Events) > 0:
			batch.Events = make([]store.Event, len(resp.Events))
			for i, e := range resp.Events {
				batch.Events[i] = store.Event{
					Item:   store.Item{Key: string(e.Kv.Key), Value: e.Kv.Value, Rev: e.Kv.ModRevision},
					Delete: e.Type == clientv3.EventTypeDelete,
				}
			}
			// The header may be ahead of the events of a watch that catches up.
			batch.Rev = batch.Events[len(batch.Events)-1].Rev
		case !resp.IsProgressNotify():
			continue
		}
		select {
		case w.batches <- batch:
		case <-w.ctx.Done():
			return
		}
		if batch.Err != nil {
			return
		}
	}
	if w.ctx.Err() == nil {
		select {
		case w.batches <- store.Batch{Err: fmt.Errorf("watch %s: %w: it ended", prefix, store.ErrUnavailable)}:
		case <-w.ctx.Done():
		}
	}
}
