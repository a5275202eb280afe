// Package retention says how long an address may be known: policies, windows,
// epochs and deadlines. It is pure (standard library only, no clock of its
// own) and everything below it keeps the one invariant that it defines:
//
//	no address without a deadline, and nothing readable past it.
//
// An event of time t belongs to the epoch that contains t. The epoch dies
// whole at its deadline, epoch start + window, so no address outlives the
// window after its own time and each lives at least window − epoch length.
//
// Packages under pipeline and abuse may import retention; retention imports
// neither.
package retention
