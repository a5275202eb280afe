package kafkain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxDecompressed bounds one batch: a few kilobytes of zstd can name gigabytes.
const maxDecompressed = 64 << 20

var (
	errCodec    = errors.New("unknown compression codec")
	errTooLarge = errors.New("the batch decompresses to more than 64 MiB, or a million records")
	errBroken   = errors.New("the batch does not decompress")
)

// appendDecompressed appends what src decompresses to. codec is the one in a batch's attributes.
func appendDecompressed(dst []byte, codec int16, src []byte) ([]byte, error) {
	switch codec {
	case 1:
		return appendGzip(dst, src)
	case 2:
		return appendSnappy(dst, src)
	case 3:
		return appendLZ4(dst, src)
	case 4:
		return appendZstd(dst, src)
	}
	return dst, errCodec
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

func appendGzip(dst, src []byte) ([]byte, error) {
	reader := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(reader)
	if err := reader.Reset(bytes.NewReader(src)); err != nil {
		return dst, errBroken
	}
	return appendAll(dst, reader)
}

var lz4Readers = sync.Pool{New: func() any { return lz4.NewReader(nil) }}

func appendLZ4(dst, src []byte) ([]byte, error) {
	reader := lz4Readers.Get().(*lz4.Reader)
	defer lz4Readers.Put(reader)
	reader.Reset(bytes.NewReader(src))
	return appendAll(dst, reader)
}

// appendAll reads to the end, or to the bound.
func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	start := len(dst)
	for {
		if cap(dst)-len(dst) < 4<<10 {
			dst = slices.Grow(dst, max(64<<10, len(dst)-start))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-start > maxDecompressed:
			return dst, errTooLarge
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, errBroken
		}
	}
}

// The Java client frames snappy its own way (xerial): a magic of 8 bytes, two
// version numbers, then blocks behind their lengths.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

func appendSnappy(dst, src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return appendSnappyBlock(dst, src, maxDecompressed)
	}
	if len(src) < xerialHeader {
		return dst, errBroken
	}
	start := len(dst)
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return dst, errBroken
		}
		length := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; length > int64(len(src)) {
			return dst, errBroken
		}
		var err error
		if dst, err = appendSnappyBlock(dst, src[:length], maxDecompressed-(len(dst)-start)); err != nil {
			return dst, err
		}
		src = src[length:]
	}
	return dst, nil
}

func appendSnappyBlock(dst, block []byte, limit int) ([]byte, error) {
	length, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return dst, errBroken
	case length > limit:
		return dst, errTooLarge
	}
	dst = slices.Grow(dst, length)
	if _, err := s2.Decode(dst[len(dst):len(dst)+length], block); err != nil {
		return dst, errBroken
	}
	return dst[:len(dst)+length], nil
}

// zstdDecoders is a pool, as the others are, though a decoder can be shared: what it has of
// the last batch goes when the pool is emptied (secret.Scrub).
var zstdDecoders = sync.Pool{New: func() any {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecompressed))
	if err != nil {
		panic(err) // only for options that contradict each other
	}
	return decoder
}}

func appendZstd(dst, src []byte) ([]byte, error) {
	decoder := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(decoder)
	out, err := decoder.DecodeAll(src, dst)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return dst, errTooLarge
	case err != nil:
		return dst, errBroken
	}
	return out, nil
}
