package keyring

import "mayfly/retention/seal"

// Cold seals and opens the cold generations under the key.
func (k *Key) Cold() (*seal.Cold, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cold == nil {
		cold, err := k.private.Cold()
		if err != nil {
			return nil, err
		}
		k.cold = cold
	}
	return k.cold, nil
}
