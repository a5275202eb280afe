package lookup

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/receipts"
	"mayfly/retention/store"
)

// slowLog takes a minute to answer, and counts who asks.
type slowLog struct{ asking, most atomic.Int64 }

func (l *slowLog) Find(context.Context, store.Query) (store.Answer, error) {
	if now := l.asking.Add(1); now > l.most.Load() {
		l.most.Store(now)
	}
	defer l.asking.Add(-1)
	time.Sleep(time.Minute)
	return store.Answer{Complete: true}, nil
}

// noted is where every receipt is taken.
type noted struct{}

func (noted) Append(context.Context, receipts.Lookup) (string, error) { return "R", nil }

// However many ask, few have what they find in memory; who waits too long gets no answer.
func TestLookupsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{}
		l, err := New(Config{Policies: policies()}, Dependencies{Log: log, Receipts: noted{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		answers := make(chan error)
		for range 3 * atOnce {
			go func() {
				_, err := l.Look(ctx, noon, Request{Account: "ada", Case: "C-1", Reason: "abuse-report"})
				answers <- err
			}()
		}
		answered := 0
		for range 3 * atOnce {
			switch err := <-answers; {
			case err == nil:
				answered++
			case !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			}
		}
		if log.most.Load() != atOnce || answered != 2*atOnce {
			t.Errorf("%d look-ups at a time, %d answered", log.most.Load(), answered)
		}
	})
}
