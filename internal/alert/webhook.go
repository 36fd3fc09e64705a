package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxExcerpt is how much of an answer is kept to say why it was a refusal.
const maxExcerpt = 200

// webhook is sent each event as JSON.
type webhook struct {
	url    string
	client *http.Client
}

func newWebhook(url string) *webhook { return &webhook{url: url, client: newClient()} }

// newClient makes a client that follows no redirect: a POST would become a GET
// that seems to have delivered.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (h *webhook) close() { h.client.CloseIdleConnections() }

func (h *webhook) send(ctx context.Context, e Event) error {
	content, err := json.Marshal(e)
	if err != nil {
		return refusal{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(content))
	if err != nil {
		return refusal{err}
	}
	req.Header.Set("Content-Type", "application/json")
	return ask(h.client, req)
}

// ask sends a request; anything but success is an error. The URL is in none:
// it may hold a secret.
func ask(client *http.Client, req *http.Request) error {
	req.Header.Set("User-Agent", "pharos")
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt)) // also lets the connection be used again
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return nil
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return answered(req, resp, text)
	default:
		return refusal{answered(req, resp, text)}
	}
}

func answered(req *http.Request, resp *http.Response, text []byte) error {
	line := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "?")), " ")
	return fmt.Errorf("%s answered %s%s", req.URL.Host, resp.Status, after(": ", line))
}
