package process

import (
	"context"
	"time"

	"go.uber.org/zap"

	"mayfly/pipeline/kafkain"
	"mayfly/retention/warden"
)

// enforce has Topics change what it looks at, where the configuration says so.
func (x *Examiner) enforce(log *zap.Logger) {
	kafka := x.config.Kafka
	switch {
	case kafka.Guard != "enforce":
		return
	case !kafka.Exclusive:
		log.Warn("kafka.guard is enforce, but kafka.exclusive is false: nothing of a shared topic is changed or deleted")
		return
	}
	admin, err := kafkain.NewEnforcer(kafka)
	if err != nil {
		return // as for the inspector, this is a finding
	}
	x.admin = admin
	x.enforcer = warden.NewEnforcer(topicAdmin{admin}, x.Expectations())
}

// topicAdmin is kafkain's enforcer in the warden's words.
type topicAdmin struct{ *kafkain.Enforcer }

// Positions implements warden.TopicAdmin.
func (a topicAdmin) Positions(ctx context.Context, topic, group string, before time.Time) (map[int32]warden.Position, error) {
	theirs, err := a.Enforcer.Positions(ctx, topic, group, before)
	if err != nil {
		return nil, err
	}
	positions := make(map[int32]warden.Position, len(theirs))
	for number, p := range theirs {
		positions[number] = warden.Position(p)
	}
	return positions, nil
}
