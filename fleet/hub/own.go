package hub

import "github.com/nats-io/nkeys"

// own is the key of the service, which is made at each start.
type own struct {
	key nkeys.KeyPair
	pub string
}

func newOwn() (*own, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	pub, err := key.PublicKey()
	return &own{key, pub}, err
}
