package abuse

import (
	"context"
	"time"
)

// RetentionSource says what is kept and what was purged. It names no address
// and no account.
type RetentionSource interface {
	Retention(ctx context.Context) (RetentionStatus, error)
}

// RetentionStatus is the state of every policy.
type RetentionStatus struct {
	Time         time.Time      `json:"time" doc:"the clock that deadlines are judged by, when this was read"`
	KeyringNodes int            `json:"keyring_nodes" doc:"how many keyring nodes there are"`
	Warden       string         `json:"warden,omitempty" doc:"name of the warden that has the lease; absent: none is known"`
	Policies     []PolicyStatus `json:"policies" nullable:"false"`
}

// PolicyStatus is the state of one policy.
type PolicyStatus struct {
	Name        string        `json:"name"`
	Basis       string        `json:"basis" doc:"legal basis"`
	Window      float64       `json:"window_seconds"`
	EpochLength float64       `json:"epoch_seconds"`
	Epochs      []EpochStatus `json:"epochs" nullable:"false" doc:"live ones and the latest purged ones, oldest first"`
}

// EpochState is where an epoch is in its life.
type EpochState string

// The states of an epoch.
const (
	EpochLive   EpochState = "live"   // its deadline has not come
	EpochDue    EpochState = "due"    // its deadline has passed and its purge is not verified
	EpochPurged EpochState = "purged" // nothing of it can be read, verified
)

// EpochStatus is the state of one epoch.
type EpochStatus struct {
	Epoch    string     `json:"epoch" doc:"policy/start+length, in milliseconds"`
	Start    time.Time  `json:"start"`
	End      time.Time  `json:"end"`
	Deadline time.Time  `json:"deadline"`
	State    EpochState `json:"state" enum:"live,due,purged"`
	KeyNodes int        `json:"key_nodes" doc:"keyring nodes that hold a key of this epoch"`
	PurgeLag *int64     `json:"purge_lag_ms,omitempty" doc:"milliseconds from the deadline to the verified purge"`
}
