package model

// scenarios are small bounds, each around one kind of trouble.
var scenarios = map[string]bounded{
	"rebalance":                 scenario{events: 2, until: 1, minted: true, ingesters: 2, faults: faults{revoke: 1, expel: 1}},
	"crash":                     scenario{events: 2, until: 1, minted: true, ingesters: 2, faults: faults{crash: 1, expel: 1}},
	"failover":                  scenario{events: 2, until: 1, minted: true, ingesters: 2, faults: faults{failover: 1, revoke: 1}},
	"expelled":                  scenario{events: 1, until: 1, minted: true, ingesters: 2, faults: faults{failover: 1, expel: 1}},
	"eviction":                  scenario{events: 2, until: 1, minted: true, ingesters: 1, faults: faults{evict: 1, crash: 1}},
	"late":                      scenario{events: 1, until: 5, minted: true, wardens: 1, ingesters: 2, reader: inSteps, faults: faults{expel: 1}},
	"minting":                   scenario{events: 1, until: 2, wardens: 2, ingesters: 1, reader: withCache},
	"keyring":                   scenario{events: 1, until: 2, wardens: 2, ingesters: 1, reader: withCache, faults: faults{restart: 1, outage: 1}},
	"key lost":                  scenario{events: 1, until: 2, minted: true, wardens: 1, ingesters: 1, reader: withCache, faults: faults{restart: 2}},
	"wrap lost":                 scenario{events: 2, until: 1, minted: true, wardens: 1, ingesters: 1, faults: faults{restart: 1, outage: 1}},
	"deadline":                  scenario{events: 1, until: 5, minted: true, wardens: 2, ingesters: 1, reader: withCache},
	"narrower":                  scenario{events: 1, until: 4, minted: true, wardens: 1, ingesters: 1, reader: withCache, faults: faults{narrow: 1}},
	"lengthened":                scenario{events: 1, until: 4, minted: true, wardens: 1, ingesters: 1, faults: faults{narrow: 1, widen: 1, restart: 2}},
	"all is lost":               scenario{events: 1, until: 1, minted: true, wardens: 1, ingesters: 1, faults: faults{restart: 2, evict: 1}},
	"all is lost, and a warden": scenario{events: 1, until: 1, minted: true, wardens: 2, ingesters: 1, faults: faults{restart: 2, evict: 1}},
	"made good":                 scenario{events: 2, until: 1, minted: true, ingesters: 1, faults: faults{swap: 2}},
	"made good, then evicted":   scenario{events: 2, until: 1, minted: true, ingesters: 1, faults: faults{swap: 1, evict: 1}},
	"one clock wrong":           scenario{events: 1, until: 5, wardens: 2, ingesters: 1, reader: withCache, clocks: offByOne()},
	"purge early, nodes late": scenario{events: 1, until: 5, minted: true, wardens: 2, ingesters: 1,
		clocks: []clocks{{wardens: [2]int8{1, 0}, nodes: [2]int8{-1, -1}}}},
	"far ahead": scenario{events: 1, until: 5, minted: true, wardens: 1, ingesters: 1,
		clocks: []clocks{{nodes: [2]int8{3, 0}}, {ingesters: [2]int8{3, 0}}, {redis: 3}}},
	"reader's clock set":      scenario{events: 1, until: 5, minted: true, wardens: 1, ingesters: 1, reader: withCache, faults: faults{jump: 1}},
	"compaction":              coldScenario{compactors: 2, faults: coldFaults{crash: 1, expiry: 1, late: 1}},
	"look-ups and compaction": coldScenario{compactors: 1, faults: coldFaults{late: 1, looks: 1}},
	"compaction and failover": coldScenario{compactors: 2, faults: coldFaults{expiry: 1, failover: 1, late: 1}},
	"compaction and eviction": coldScenario{compactors: 1, faults: coldFaults{late: 1, evict: 1, looks: 1}},
	"compaction and purge":    coldScenario{compactors: 2, faults: coldFaults{crash: 1, expiry: 1, purge: 1}},
	"two wardens":             leaseScenario{reach: [2]set{bothNodes, bothNodes}, faults: leaseFaults{crash: 1}},
	"an active one cut off":   leaseScenario{reach: [2]set{0b01, bothNodes}, healed: overdue + 2},
	"the active one dies":     leaseScenario{reach: [2]set{bothNodes, bothNodes}, faults: leaseFaults{die: 1}},
	"two wardens, lengthened": leaseScenario{reach: [2]set{bothNodes, bothNodes}, faults: leaseFaults{crash: 1, widen: 1}},
}

// deep are larger bounds, for -deep.
var deep = map[string]bounded{
	"rebalance, crash":            scenario{events: 2, until: 1, minted: true, ingesters: 2, faults: faults{crash: 1, revoke: 1, expel: 1}},
	"rebalance, failover":         scenario{events: 1, until: 1, minted: true, ingesters: 2, faults: faults{failover: 1, revoke: 1, expel: 1}},
	"failovers, crash":            scenario{events: 2, until: 1, minted: true, ingesters: 2, faults: faults{failover: 2, crash: 1}},
	"warden crash":                scenario{events: 1, until: 5, wardens: 2, ingesters: 1, reader: withCache, faults: faults{crash: 1, restart: 1}},
	"compaction, failover, crash": coldScenario{compactors: 2, faults: coldFaults{crash: 1, expiry: 1, failover: 1, late: 1}},
	"two nodes, late":             scenario{events: 1, until: 5, minted: true, wardens: 1, ingesters: 2, reader: inSteps, faults: faults{expel: 1, restart: 2}},
}

// limits are what the protections together can't see, and by what that shows.
var limits = map[string]struct {
	bounded
	broken violation
}{
	// The active warden is cut off from a node and fails aloud; the other sees that the epoch
	// is gone, and leaves it to the active one to say so until that is healed.
	"an active one cut off for good": {leaseScenario{reach: [2]set{0b01, bothNodes}}, unwritten},
	// Every keyring node and the directory forget the epoch, and with them the warden
	// that minted: another one that was only just started has never seen its key.
	"keyring, directory and warden lost": {scenario{events: 1, until: 1, minted: true, wardens: 2, ingesters: 1,
		faults: faults{restart: 2, evict: 1, crash: 1}}, silentLoss},
}

// offByOne are clocks of which one is wrong by as much as is allowed.
func offByOne() []clocks {
	var all []clocks
	for _, d := range []int8{-grace, grace} {
		all = append(all, clocks{nodes: [2]int8{d, 0}}, clocks{nodes: [2]int8{d, d}}, clocks{wardens: [2]int8{d, 0}},
			clocks{ingesters: [2]int8{d, 0}}, clocks{reader: d}, clocks{redis: d})
	}
	return all
}

// flaws says, of each protection, in which scenario and by what its absence is seen.
var flaws = map[string]struct {
	flaw     flaw
	scenario string
	broken   violation
}{
	"the manifest is written before the frames":               {manifestFirst, "rebalance", falseAlarm},
	"a writer keeps its sequence after an abandoned batch":    {keepsSequence, "rebalance", falseAlarm},
	"commit comes before storage":                             {commitsFirst, "rebalance", silentLoss},
	"finish commits without the delay":                        {finishesAtOnce, "failover", silentLoss},
	"the delay is reckoned after verify":                      {reckonsLate, "failover", silentLoss},
	"no rewind after a failover":                              {noRewind, "failover", silentLoss},
	"a clock ahead of Redis goes unnoticed":                   {aheadUnnoticed, "far ahead", silentLoss},
	"Seal waits for the key of a dead epoch":                  {waitsForDead, "late", stuck},
	"a node's refusal is taken for expiry":                    {trustsRefusal, "far ahead", silentLoss},
	"a writer's wrap is published once":                       {wrapsOnce, "wrap lost", blindWriter},
	"Mint without the purged-through mark":                    {noMark, "purge early, nodes late", lyingReceipt},
	"keys without expiry":                                     {noExpiry, "deadline", readable},
	"a key that was announced is taken for one that was used": {countsAnnounced, "one clock wrong", falseAlarm},
	"a cache outlives a shorter window":                       {cachesFrozen, "narrower", readable},
	"a purge is content with one node":                        {destroysOne, "purge early, nodes late", lyingReceipt},
	"a key's deadline outlives a shorter window":              {adoptsFrozen, "narrower", readable},
	"a reader does not compare keys with the directory":       {trustsKeyring | forgetsSuccessor, "key lost", silentLoss},
	"a reader does not count frames":                          {ignoresManifests, "eviction", silentLoss},
	"a reader keeps repeats":                                  {keepsRepeats, "rebalance", repeated},
	"a reader without the deadline filter":                    {noFilter, "late", readable},
	"a reader takes any dead key for a dead epoch":            {believesDestroyed, "reader's clock set", silentLoss},
	"a reader never looks past its cache":                     {cachesBlindly, "minting", falseAlarm},
	"a cache is not swept":                                    {cachesOn, "deadline", readable},
	"a cache's life is reckoned by the wall clock":            {remainsByWallClock, "reader's clock set", readable},
	"a warden goes by a longer window":                        {noTerm, "lengthened", lyingReceipt},
	"marks are not restored":                                  {noRestore, "lengthened", falseAlarm},
	"a second key passes for the first":                       {forgetsSuccessor, "all is lost", silentLoss},
	"another warden's key is forgotten":                       {forgetsOthers, "all is lost, and a warden", silentLoss},
	"a claim is withdrawn too early":                          {withdrawsEarly, "made good", forgotten},
	"a second failover forgets what the first has lost":       {forgetsLoss, "made good", forgotten},
	"a claim is never withdrawn":                              {neverWithdraws, "made good", falseAlarm},
	"a claim on what was committed is withdrawn":              {withdrawsAll, "made good, then evicted", silentLoss},
	"a purge is content with the nodes it reaches":            {purgesUnverified, "an active one cut off", lyingReceipt},
	"a standby leaves what is overdue":                        {leavesOverdue, "an active one cut off", readable},
	"a standby does not see through what it saw":              {leavesSeen, "the active one dies", unwritten},
	"a standby lists what its log has ended":                  {listsEnded, "two wardens, lengthened", contradiction},
	"a standby leaves what its log owes":                      {leavesDebts, "two wardens", unwritten},
	"a warden forgets what its log owes":                      {forgetsDebts, "two wardens", contradiction},
	"a generation is on another server than its chunk":        {coldElsewhere, "compaction and failover", lost},
	"frames are removed before the flip":                      {removesFirst, "compaction", lost},
	"two compactors claim one generation":                     {noClaim, "compaction", falseAlarm},
	"a compactor goes on after the purge":                     {noClaim, "compaction and purge", remains},
	"a compactor covers what is lost":                         {coversGaps, "compaction and eviction", silentLoss},
	"a compactor leaves out blocks that are lost":             {ignoresDamage, "compaction and eviction", silentLoss},
	"blocks are tidied away after a failover":                 {tidiesBlindly, "compaction and failover", lost},
	"frames are removed after a failover":                     {removesBlindly, "compaction and failover", lost},
	"a head without its blocks":                               {flipsBlindly, "compaction and failover", lost},
	"a reader reads heads before chunks":                      {headsFirst, "look-ups and compaction", falseAlarm},
	"a reader does not read again":                            {readsOnce, "look-ups and compaction", falseAlarm},
	"a cache goes by the wall clock alone":                    {cachesByWallClock, "reader's clock set", readable},
}
