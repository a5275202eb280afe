package relay

import "io"

// smallBody is where the buffer of a body of unknown length begins.
const smallBody = 4 << 10

// readBody reads r to its end. The buffer has room for as many bytes as were
// announced, -1 where they were not; where it grows, what it leaves behind is cleared.
func readBody(r io.Reader, announced int64) ([]byte, error) {
	b := make([]byte, 0, max(announced+1, smallBody)) // one more, to see the end
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		case len(b) == cap(b):
			grown := make([]byte, len(b), 2*cap(b))
			copy(grown, b)
			clear(b)
			b = grown
		}
	}
}
