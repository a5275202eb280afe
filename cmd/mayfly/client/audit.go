package client

import (
	"context"
	"encoding/json"
	"fmt"

	"mayfly/abuse"
)

// Commit has the desk write an auditor's commitment down.
func (c Client) Commit(ctx context.Context, commitment abuse.Commitment) (abuse.Committed, error) {
	body, err := json.Marshal(commitment)
	if err != nil {
		return abuse.Committed{}, fmt.Errorf("encoding the commitment: %w", err)
	}
	var committed abuse.Committed
	err = c.post(ctx, "/v1/commitments", nil, "application/json", body, &committed)
	return committed, err
}
