// Package hub is the hub of a fleet: a NATS server with JetStream, and a client
// of it, the service, which alone may use JetStream.
//
// The directory of a hub has the key and the certificate of its authority (ca.key,
// ca.pem), the tokens and the clients that have used them (clients/), and what
// JetStream stores (jetstream/). One hub at a time may use it.
//
// # Locking
//
// The service is one goroutine that takes one message at a time. The clients have
// a mutex, which goroutines of the server take when a client connects; no other
// lock is taken below it.
package hub
