package produce

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// rewindable gives an input that can be read twice: itself where it is a file,
// else what it holds, up to limit bytes.
func rewindable(in io.Reader, limit int64) (io.ReadSeeker, error) {
	if seekable(in) {
		return in.(io.ReadSeeker), nil
	}
	held, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	if int64(len(held)) > limit {
		return nil, fmt.Errorf("rebasing reads the input twice, and more than %d MiB of a pipe are not kept: give a file", limit>>20)
	}
	return bytes.NewReader(held), nil
}

// seekable tells a file from a pipe.
func seekable(in io.Reader) bool {
	file, ok := in.(io.Seeker)
	if !ok {
		return false
	}
	_, err := file.Seek(0, io.SeekCurrent)
	return err == nil
}

// interruptible makes the end of ctx end a Read too: a pipe may stay silent for
// ever. What is left behind is one goroutine, until the pipe says something.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		_ = w.CloseWithError(err) // nil is the end of the input
	}()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(ctx.Err()) })
	return r
}
