package receipts

import "mayfly/retention"

// The fields of each type of entry, sorted by name.

func (e *Policy) fields(c *codec) {
	c.text("basis", &e.Basis)
	c.millis("epoch_ms", &e.Length)
	c.integer("first", &e.First)
	c.text("policy", &e.Name)
	c.instant("time", &e.Time)
	c.constant("type", TypePolicy)
	c.millis("window_ms", &e.Window)
}

func (e *Removed) fields(c *codec) {
	c.text("policy", &e.Name)
	c.instant("time", &e.Time)
	c.constant("type", TypeRemoved)
}

func (e *Key) fields(c *codec) {
	c.instant("deadline", &e.Deadline)
	c.epoch(&e.Epoch)
	c.text("key", &e.ID)
	c.integer("shards", &e.Shards)
	if c.has("successor", e.Successor) {
		c.affirm("successor", &e.Successor)
	}
	c.instant("time", &e.Time)
	c.constant("type", TypeKey)
}

func (e *Purged) fields(c *codec) {
	c.text("assurance", &e.Assurance)
	c.instant("at", &e.At)
	c.text("binary", &e.Binary)
	c.text("config", &e.Config)
	counted := c.has("counted", e.Tally != nil)
	if c.reading && counted {
		e.Tally = &Tally{}
	}
	if counted {
		c.instant("counted", &e.Tally.Counted)
	}
	c.instant("deadline", &e.Deadline)
	c.epoch(&e.Epoch)
	if counted {
		c.integer("expired", &e.Tally.Expired)
	}
	c.integer("key_count", &e.KeyCount)
	c.list("keys", &e.Keys)
	lag := e.Lag().Milliseconds()
	c.integer("lag_ms", &lag)
	if lag != e.Lag().Milliseconds() {
		c.fail()
	}
	c.flag("late", &e.Late)
	c.text("method", &e.Method)
	c.integer("nodes", &e.Nodes)
	if counted {
		e.Tally.fields(c)
	}
	c.instant("time", &e.Time)
	if counted {
		c.topics("topics", &e.Tally.Topics)
	}
	c.constant("type", TypePurged)
}

func (e *NeverMinted) fields(c *codec) {
	c.instant("at", &e.At)
	c.integer("count", &e.Count)
	c.instant("deadline", &e.Deadline)
	c.epoch(&e.Epoch)
	c.flag("late", &e.Late)
	c.instant("time", &e.Time)
	c.constant("type", TypeNeverMinted)
}

func (e *Looked) fields(c *codec) {
	c.count("accounts", &e.Accounts)
	c.flag("ambiguous", &e.Ambiguous)
	if c.has("batch", e.Batch != 0) {
		c.count("batch", &e.Batch)
	}
	c.text("case", &e.Case)
	c.flag("complete", &e.Complete)
	c.count("events", &e.Events)
	if c.has("from", !e.From.IsZero()) {
		c.instant("from", &e.From)
	}
	c.text("id", &e.ID)
	c.text("reason", &e.Reason)
	c.text("subject", &e.Subject)
	c.instant("time", &e.Time)
	if c.has("to", !e.To.IsZero()) {
		c.instant("to", &e.To)
	}
	c.constant("type", TypeLookup)
}

// epoch is an epoch by name.
func (c *codec) epoch(v *retention.Epoch) {
	if !c.reading {
		name := v.String()
		c.text("epoch", &name)
		return
	}
	var name string
	c.text("epoch", &name)
	if c.err != nil {
		return
	}
	parsed, err := retention.ParseEpoch(name)
	// Beyond maxMillis sums would overflow.
	if err != nil || parsed.String() != name || parsed.Length > maxMillis || parsed.Start > maxMillis || parsed.Start < -maxMillis {
		c.fail()
		return
	}
	*v = parsed
}
