package etcd

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo returns a logger for etcd that writes to ours. What etcd calls
// information is detail to the people who run Gatehouse. Once closing is set,
// everything is: etcd takes its own end for a row of errors.
func zapTo(log *slog.Logger, closing *atomic.Bool, opts ...zap.Option) *zap.Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return zap.New(zapSink{log.Handler().WithAttrs([]slog.Attr{slog.String("part", "etcd")}), closing}, opts...)
}

// A zapSink is a zapcore.Core that hands records to a slog.Handler.
type zapSink struct {
	handler slog.Handler
	closing *atomic.Bool
}

// notYet is what etcd logs as an error on every first start, before it tries
// again.
const notYet = "failed to update storage version"

func levelOf(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelInfo // etcd warns of every request that took 100 ms
	}
	return slog.LevelDebug
}

func (s zapSink) Enabled(l zapcore.Level) bool {
	return s.handler.Enabled(context.Background(), levelOf(l))
}

func (s zapSink) With(fields []zapcore.Field) zapcore.Core {
	return zapSink{s.handler.WithAttrs(attrs(fields)), s.closing}
}

func (s zapSink) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return ce.AddCore(e, s)
	}
	return ce
}

func (s zapSink) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := levelOf(e.Level)
	if s.closing.Load() || e.Message == notYet {
		level = slog.LevelDebug
	}
	if !s.handler.Enabled(context.Background(), level) {
		return nil
	}
	r := slog.NewRecord(e.Time, level, e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return s.handler.Handle(context.Background(), r)
}

func (zapSink) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}
