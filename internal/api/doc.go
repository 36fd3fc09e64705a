// Package api is how people and programs speak to a running node: HTTP with an
// OpenAPI document over a Unix socket in the data folder and, where configured,
// over TLS. It also holds the Go client that the command line uses.
//
// In go requests of a caller whose name and role come from the socket's peer
// credentials, a client certificate or a bearer token, never from the request;
// out come calls of the Backend, which internal/node implements. The package
// decides nothing. Server.Run owns every goroutine.
package api
