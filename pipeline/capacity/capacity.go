// Package capacity is the arithmetic of "mayfly plan": what a service of so many
// events a second needs. It is pure, and knows no figure of its own but the rules by
// which Mayfly lays epochs out: what an event costs comes from the results of the
// benchmarks, a file that pipeline/bench writes and that can be replaced by one from
// one's own machine. Only pipeline/bench and cmd import it.
//
// The invariant: each line of a plan says which constants it comes from, so that
// whoever doubts it can measure just these.
package capacity
