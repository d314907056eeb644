// A target that answers every call of every client with the same PutResponse, and does nothing else: what is left when a
// generator loads it is the generator.
//
// It speaks as much of HTTP/2 (RFC 9113) as a gRPC client makes it: frames are told apart, settings and pings acknowledged,
// and a stream that has ended on the client's side is answered. Header blocks are not read, so that it costs next to nothing
// whatever the client's encoder does. Answers are so small that a client gives back its windows long before they are used up.
//
// Usage: target; prints its address, and ends when its standard input does.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
)

const (
	frameData         = 0
	frameHeaders      = 1
	frameSettings     = 4
	framePing         = 6
	frameWindowUpdate = 8

	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4

	frameHeaderBytes = 9
	prefaceBytes     = 24
	largestWindow    = 1<<31 - 1
)

// A revision of five bytes in the encoding, however long the run: 2^28 and up.
var revision atomic.Int64

// The header blocks of an answer, before and after the client's table has its entries: ":status: 200" is in HPACK's static
// table, "content-type: application/grpc" and "grpc-status: 0" are put into the dynamic one by the first answer.
var (
	firstHeaders  = append([]byte{0x88, 0x5f, 0x10}, "application/grpc"...)
	firstTrailers = append(append([]byte{0x40, 0x0b}, "grpc-status"...), 0x01, '0')
	headers       = []byte{0x88, 0xbf}
	trailers      = []byte{0xbe}
)

type connection struct {
	net.Conn
	out         []byte
	hasAnswered bool
	received    uint32
}

func (c *connection) frame(kind, flags byte, stream uint32, payload []byte) {
	length := len(payload)
	c.out = append(c.out, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	c.out = binary.BigEndian.AppendUint32(c.out, stream)
	c.out = append(c.out, payload...)
}

func (c *connection) answer(stream uint32) {
	first, last := headers, trailers
	if !c.hasAnswered {
		first, last = firstHeaders, firstTrailers
		c.hasAnswered = true
	}
	c.frame(frameHeaders, flagEndHeaders, stream, first)
	r := revision.Add(1)
	// gRPC's prefix, and PutResponse{header: {cluster_id: 1, member_id: 1, revision: r, raft_term: 2}}.
	c.frame(frameData, 0, stream, []byte{
		0, 0, 0, 0, 14, 0x0a, 12, 0x08, 1, 0x10, 1, 0x18,
		byte(r) | 0x80, byte(r>>7) | 0x80, byte(r>>14) | 0x80, byte(r>>21) | 0x80, byte(r >> 28), 0x20, 2})
	c.frame(frameHeaders, flagEndHeaders|flagEndStream, stream, last)
}

func (c *connection) take(kind, flags byte, stream uint32, payload []byte) {
	switch kind {
	case frameSettings:
		if flags&flagAck == 0 {
			c.frame(frameSettings, flagAck, 0, nil)
		}
	case framePing:
		if flags&flagAck == 0 {
			c.frame(framePing, flagAck, 0, payload)
		}
	case frameData:
		if c.received += uint32(len(payload)); c.received > largestWindow/2 {
			c.frame(frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, c.received))
			c.received = 0
		}
		if flags&flagEndStream != 0 {
			c.answer(stream)
		}
	}
}

func (c *connection) serve() {
	defer c.Close()
	buffer := make([]byte, 256<<10)
	if _, err := io.ReadFull(c, buffer[:prefaceBytes]); err != nil {
		return
	}
	c.frame(frameSettings, 0, 0, nil)
	c.frame(frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, largestWindow-65535))
	held := 0
	for {
		if len(c.out) > 0 {
			if _, err := c.Write(c.out); err != nil {
				return
			}
			c.out = c.out[:0]
		}
		count, err := c.Read(buffer[held:])
		if err != nil {
			return
		}
		rest := buffer[:held+count]
		for len(rest) >= frameHeaderBytes {
			whole := frameHeaderBytes + int(rest[0])<<16 + int(rest[1])<<8 + int(rest[2])
			if len(rest) < whole {
				break
			}
			c.take(rest[3], rest[4], binary.BigEndian.Uint32(rest[5:]), rest[frameHeaderBytes:whole])
			rest = rest[whole:]
		}
		held = copy(buffer, rest)
	}
}

func main() {
	revision.Store(1 << 28)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		accepted, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go (&connection{Conn: accepted}).serve()
	}
}
