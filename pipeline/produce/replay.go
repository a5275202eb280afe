package produce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mayfly/pipeline/event"
)

// replay sends every event of the input, moved and paced as configured. send
// takes the value over.
func (p *Producer) replay(ctx context.Context, in io.Reader, send func(context.Context, []byte) error) (Summary, error) {
	r := replayer{p: p, now: time.Now(), send: send, scale: 1, summary: Summary{Reasons: map[string]int{}}}
	var err error
	if r.check, err = event.NewDecoder(nil); err != nil {
		return r.summary, err
	}
	if !seekable(in) {
		in = interruptible(ctx, in)
	}
	if p.config.Rebase == RebaseLast {
		if in, err = r.scan(ctx, in); err != nil {
			return r.summary, err
		}
	}
	err = p.events(ctx, &counting{in: in, tell: p.deps.Progress}, r.now, r.event)
	return r.summary, err
}

// events calls f for every line of the input: with its event, or the reason
// why it has none.
func (p *Producer) events(ctx context.Context, in io.Reader, now time.Time, f func(ctx context.Context, line []byte, e *event.Event, reason event.Refusal) error) error {
	parser := p.parser(now)
	input := newLines(in)
	var e event.Event
	for ctx.Err() == nil {
		line, err := input.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
		if err := f(ctx, line, &e, parser.parse(line, &e)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// parser for the configured format; every pass over the input takes a new one.
func (p *Producer) parser(now time.Time) parser {
	if p.config.Format == SSHD {
		return &sshdLines{clock: yearless{zone: p.zone, ceiling: now.Add(day), continuous: p.config.Rebase != ""}}
	}
	return jsonLines{p.fields}
}

// replayer is one run over one input.
type replayer struct {
	p       *Producer
	now     time.Time // when the run began
	send    func(context.Context, []byte) error
	check   *event.Decoder // reads what is written, so that nothing is sent that would be refused
	summary Summary

	begun  bool    // an event has set the origin
	origin int64   // the time of the input that becomes now
	scale  float64 // how many milliseconds of the input become one
}

// scan finds the latest event of an input, which becomes now, and gives the
// same input to read again.
func (r *replayer) scan(ctx context.Context, in io.Reader) (io.Reader, error) {
	var length counting
	again, err := rewindable(in, r.p.config.Buffer)
	if err != nil {
		return nil, err
	}
	length.in = again
	start, err := again.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	err = r.p.events(ctx, &length, r.now, func(_ context.Context, _ []byte, e *event.Event, reason event.Refusal) error {
		if reason == event.Accepted && (!r.begun || e.Time > r.origin) {
			r.begun, r.origin = true, e.Time
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := again.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("going back to the start of the input: %w", err)
	}
	// What a growing file has gained meanwhile would lie in the future.
	return io.LimitReader(again, length.read), nil
}

// event sends one event when its time has come, or counts why there is none.
func (r *replayer) event(ctx context.Context, line []byte, e *event.Event, reason event.Refusal) error {
	r.summary.Lines++
	if reason != event.Accepted {
		r.skip(reason)
		return nil
	}
	if r.p.config.Speed > 0 {
		if !r.begun {
			r.begun, r.origin, r.scale = true, e.Time, r.p.config.Speed
		}
		if err := sleepUntil(ctx, r.move(e.Time)); err != nil {
			return err
		}
	}
	value, reason := r.value(line, e)
	if reason != event.Accepted {
		r.skip(reason)
		return nil
	}
	if err := r.send(ctx, value); err != nil {
		return err
	}
	at := time.UnixMilli(e.Time).UTC()
	if r.summary.First.IsZero() || at.Before(r.summary.First) {
		r.summary.First = at
	}
	if at.After(r.summary.Last) {
		r.summary.Last = at
	}
	return nil
}

func (r *replayer) skip(reason event.Refusal) {
	r.summary.Skipped++
	r.summary.Reasons[string(reason)]++
}

// move gives the place in this run of a time of the input.
func (r *replayer) move(ms int64) time.Time {
	if r.scale == 1 {
		return time.UnixMilli(r.now.UnixMilli() + ms - r.origin)
	}
	return time.UnixMilli(r.now.UnixMilli() + int64(float64(ms-r.origin)/r.scale))
}

// unpaced is a replay in which every event is its own origin.
func (r *replayer) unpaced() bool { return r.p.config.Rebase == RebaseNow && r.p.config.Speed == 0 }

// value is what is written for e: JSON lines as they are, unless rebased.
func (r *replayer) value(line []byte, e *event.Event) ([]byte, event.Refusal) {
	rebased := r.p.config.Rebase != ""
	if r.p.config.Format != SSHD && !rebased {
		return slices.Clone(line), event.Accepted
	}
	if rebased {
		if r.unpaced() {
			r.origin = e.Time
			r.now = time.Now()
		}
		e.Time = r.move(e.Time).UnixMilli()
		if e.Since != 0 {
			e.Since = r.move(e.Since).UnixMilli()
		}
	}
	value := event.Append(make([]byte, 0, 256), e)
	var written event.Event
	return value, r.check.Decode(value, &written)
}

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
