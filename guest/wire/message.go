package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// WriteMessage sends v as JSON behind four bytes of big-endian length.
func WriteMessage(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("message of %d bytes is over %d", len(body), MaxMessage)
	}
	return writeAll(w, binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body)
}

// ReadMessage receives one message into v; it refuses one over MaxMessage.
func ReadMessage(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > MaxMessage {
		return fmt.Errorf("message of %d bytes is over %d", size, MaxMessage)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// WriteFrame sends one frame of an OpExec stream.
func WriteFrame(w io.Writer, t FrameType, payload []byte) error {
	if len(payload) > MaxFrame {
		return fmt.Errorf("frame of %d bytes is over %d", len(payload), MaxFrame)
	}
	head := make([]byte, 5, 5+len(payload))
	head[0] = byte(t)
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	return writeAll(w, head, payload)
}

// ReadFrame receives one frame; it refuses one over MaxFrame.
func ReadFrame(r io.Reader) (FrameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > MaxFrame {
		return 0, nil, fmt.Errorf("frame of %d bytes is over %d", size, MaxFrame)
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(r, payload)
	return FrameType(head[0]), payload, err
}

func writeAll(w io.Writer, head, body []byte) error {
	_, err := w.Write(append(head, body...))
	return err
}
