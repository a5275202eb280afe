package store

// Narrow leaves a compactor so little memory that it needs many parts, runs and reads.
func (c *Compactor) Narrow() { c.room = room{rows: 20, pairs: 8, frames: 2, held: 100} }
