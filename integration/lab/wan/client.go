package wan

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const answerWithin = 10 * time.Second

// Side is the end of a wire that frames enter by.
type Side string

const (
	Both Side = ""
	A    Side = "a"
	B    Side = "b"
)

// Client speaks to an emulator. It may be used by several goroutines.
type Client struct {
	mu   sync.Mutex // one question at a time
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// Dial connects to the emulator that listens at a socket.
func Dial(socket string) (*Client, error) {
	conn, err := net.DialTimeout("unix", socket, answerWithin)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	return &Client{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

// Close hangs up.
func (c *Client) Close() error { return c.conn.Close() }

// Set says what a wire does to frames that enter by a side from now on.
func (c *Client) Set(wire string, side Side, i Impairment) error {
	_, err := c.ask(request{Do: "set", Wire: wire, Side: string(side), Impair: &i})
	return err
}

// Cut has the frames that enter by a side, or are on their way, vanish.
func (c *Client) Cut(wire string, side Side) error {
	_, err := c.ask(request{Do: "cut", Wire: wire, Side: string(side)})
	return err
}

// Mend ends a cut.
func (c *Client) Mend(wire string, side Side) error {
	_, err := c.ask(request{Do: "mend", Wire: wire, Side: string(side)})
	return err
}

// Stats are what happened on all wires since Reset, by wire and side.
func (c *Client) Stats() (map[string]map[Side]Stats, error) {
	r, err := c.ask(request{Do: "stats"})
	if err != nil {
		return nil, err
	}
	all := map[string]map[Side]Stats{}
	for wire, sides := range r.Stats {
		all[wire] = map[Side]Stats{A: sides["a"], B: sides["b"]}
	}
	return all, nil
}

// Reset has the stats begin anew.
func (c *Client) Reset() error {
	_, err := c.ask(request{Do: "reset"})
	return err
}

func (c *Client) ask(q request) (response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var r response
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return r, fmt.Errorf("emulator: %w", err)
	}
	err := c.out.Encode(q)
	if err == nil {
		err = c.in.Decode(&r)
	}
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		return r, fmt.Errorf("emulator: %s %s: %w", q.Do, q.Wire, err)
	}
	return r, nil
}
