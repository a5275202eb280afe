package model

// flaw is a protection taken out.
type flaw uint64

const (
	manifestFirst      flaw = 1 << iota // Append writes the manifest before the frames
	keepsSequence                       // Seal goes on after a batch that was sealed and never appended
	commitsFirst                        // offsets are committed before storage
	finishesAtOnce                      // finish commits without the commit delay
	reckonsLate                         // commit reckons the delay after verify, not before
	noRewind                            // verify overlooks another identity
	aheadUnnoticed                      // verify overlooks that Redis is behind this machine
	waitsForDead                        // Seal waits for the key of an epoch that is over
	trustsRefusal                       // Seal takes ErrDestroyed for expiry before the deadline
	wrapsOnce                           // Seal does not look after its wrap
	noMark                              // Publish overlooks the purged-through mark
	noExpiry                            // Publish sets no expiry
	countsAnnounced                     // Find takes a key that was only announced for one that was used
	destroysOne                         // Destroy is content with one node, and nobody checks
	adoptsFrozen                        // a key's own deadline outlives a shortened window
	trustsKeyring                       // Find does not compare keys with the directory
	ignoresManifests                    // Find does not count frames
	keepsRepeats                        // Find does not drop an event that it has
	noFilter                            // answer does not leave out what is due
	believesDestroyed                   // Find takes ErrDestroyed for death although the epoch lives
	cachesBlindly                       // Opener serves its cache although the directory names another key
	cachesFrozen                        // Opener keeps a key until its own deadline though the window was shortened
	cachesOn                            // Opener does not sweep
	cachesByWallClock                   // Opener sweeps by wall clock alone
	remainsByWallClock                  // Opener reckons by wall clock how long a key remains

	coldElsewhere    // a generation is on another server than its chunk
	removesFirst     // Remove comes before Put and Flip
	noClaim          // put.lua and flip.lua do not compare the claim, nor does claim.lua
	coversGaps       // mergeFrames goes on behind a frame that is missing
	ignoresDamage    // mergeBase goes on without blocks that are lost
	flipsBlindly     // flip.lua does not look for the blocks
	tidiesBlindly    // Tidy does not look whether the flip is still there
	removesBlindly   // Remove does not
	headsFirst       // a reader reads heads before chunks
	readsOnce        // a reader does not read again
	noTerm           // wardens go by the policy's window alone, not by their logs
	noRestore        // wardens do not restore marks
	forgetsSuccessor // Mint forgets that there was a key
	forgetsOthers    // a warden remembers only the keys of its own log
	withdrawsEarly   // Withdraw does not wait until all is stored again
	withdrawsAll     // Disown keeps no claim on what was committed
	neverWithdraws   // claims on what was lost stay
	forgetsLoss      // a second failover forgets what the first has lost
	purgesUnverified // a purge is content with the nodes that it reaches
	leavesSeen       // what a standby saw purged is not seen through once it is active
	leavesOverdue    // a standby leaves what is overdue to the active one
	leavesDebts      // a standby leaves what its own log owes
	listsEnded       // a standby lists what its log has ended
	forgetsDebts     // after a restart a warden does not collect what its log owes

	seeksAnswer // no flaw: calls a full answer a violation, to show that there is one
)
