package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mayfly/retention"
	"mayfly/retention/seal"
)

// MaxShards is the most shards per view of an epoch key.
const MaxShards = 1 << 16

var errEntry = errors.New("keyring: malformed entry")

// newEntry draws an epoch key; the second result is its private half, wrapped.
func newEntry(epoch retention.Epoch, deadline time.Time, shards uint32, kek KEK) (Public, []byte, error) {
	public, private, err := seal.GenerateKey()
	if err != nil {
		return Public{}, nil, err
	}
	p := Public{Epoch: epoch, Minted: time.Now(), Deadline: deadline, Key: public, Shards: shards}
	if _, err := rand.Read(p.ID[:]); err != nil {
		return Public{}, nil, fmt.Errorf("drawing a key id: %w", err)
	}
	if _, err := rand.Read(p.Layout[:]); err != nil {
		return Public{}, nil, fmt.Errorf("drawing a layout key: %w", err)
	}
	exported, err := private.Bytes()
	if err != nil {
		return Public{}, nil, fmt.Errorf("exporting the private key of epoch %v: %w", epoch, err)
	}
	wrapped, err := p.wrap(kek, exported)
	clear(exported)
	if err != nil {
		// Not wrapped: a key-encryption key that is ahead of a living epoch has
		// lost it, which must not pass for the epoch's own end.
		return Public{}, nil, fmt.Errorf("wrapping the key of epoch %v: %v (was this machine's clock ahead?)", epoch, err) //nolint:errorlint // on purpose
	}
	return p, wrapped, nil
}

// wrap makes the private part of a key: the deadline that it is wrapped for (8
// bytes), and the wrap. The deadline is beside the wrap because nodes may have
// different ones for a while, after a window was shortened.
func (p *Public) wrap(kek KEK, private []byte) ([]byte, error) {
	wrapped, err := kek.Wrap(p.Deadline, private, p.associated(p.Deadline))
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(p.Deadline.UnixMilli())), wrapped...), nil
}

// unwrap is the inverse of wrap, and brings p's deadline forward to the wrap's.
func (p *Public) unwrap(kek KEK, part []byte) ([]byte, error) {
	if len(part) < 8 {
		return nil, errEntry
	}
	deadline := time.UnixMilli(int64(binary.BigEndian.Uint64(part)))
	if deadline.Before(p.Deadline) {
		p.Deadline = deadline
	}
	return kek.Unwrap(deadline, part[8:], p.associated(deadline))
}

// associated binds a wrapped private key to its epoch, id and deadline.
func (p *Public) associated(deadline time.Time) []byte {
	return []byte(p.Epoch.String() + " " + p.ID.String() + " " + strconv.FormatInt(deadline.UnixMilli(), 10))
}

// deadlineAt is where the public and the private part have the deadline.
var deadlineAt = map[Part]int{partPublic: 9, partPrivate: 0}

// sooner reports whether field b of a part is for an earlier deadline than a: the
// one change that an entry can see.
func sooner(part Part, a, b []byte) bool {
	at, has := deadlineAt[part]
	return has && len(a) >= at+8 && len(b) >= at+8 && bytes.Compare(b[at:at+8], a[at:at+8]) < 0
}

// successorVersion is the version of an entry that differs from the other in
// nothing but that it says so.
const successorVersion = 2

// marshal writes version (1), minted (8), deadline (8), shards (4), layout key
// (16), public key.
func (p *Public) marshal() []byte {
	version := byte(1)
	if p.Successor {
		version = successorVersion
	}
	b := []byte{version}
	b = binary.BigEndian.AppendUint64(b, uint64(p.Minted.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Deadline.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, p.Shards)
	b = append(b, p.Layout[:]...)
	return append(b, p.Key...)
}

func parsePublic(epoch retention.Epoch, id string, b []byte) (Public, error) {
	key, err := seal.ParseKeyID(id)
	if err != nil || len(b) < 1+8+8+4+16+1 || b[0] != 1 && b[0] != successorVersion {
		return Public{}, errEntry
	}
	p := Public{
		Epoch: epoch, ID: key,
		Minted:   time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:9]))),
		Deadline: time.UnixMilli(int64(binary.BigEndian.Uint64(b[9:17]))),
		Shards:   binary.BigEndian.Uint32(b[17:21]),
		Layout:   [16]byte(b[21:37]),
		Key:      b[37:],

		Successor: b[0] == successorVersion,
	}
	if p.Shards == 0 || p.Shards > MaxShards {
		return Public{}, errEntry
	}
	return p, nil
}

// wrapField names a writer's wrap among those of its epoch: "key writer" in hex.
func wrapField(key seal.KeyID, writer seal.WriterID) string {
	return key.String() + " " + writer.String()
}
