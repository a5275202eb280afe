package produce

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"mayfly/pipeline/event"
)

// lines reads an input line by line, with a bound on a line's length.
type lines struct{ in *bufio.Reader }

func newLines(in io.Reader) lines {
	return lines{bufio.NewReaderSize(in, 2*event.MaxSize)}
}

// next gives the next line without its end ("\n" or "\r\n"), valid until the
// next call; a line that is too long for an event comes cut, but too long
// still. At the end of the input it is io.EOF.
func (l lines) next() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		// The slice is the reader's whole buffer, so what is left of the line
		// overwrites it; only its length matters.
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		return line, nil
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

// counting tells how far an input has been read.
type counting struct {
	in   io.Reader
	read int64
	tell func(read int64)
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.read += int64(n)
	if c.tell != nil {
		c.tell(c.read)
	}
	return n, err
}
