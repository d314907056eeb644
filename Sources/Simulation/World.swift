// Owns the sizes of one world, drawn from its seed.
// Must never: be drawn from any other stream than `sizes`, or the same seed would differ between options.
// Invariant: each seed has its own subset of faults and its own limits, some of them absurdly small ("swarm").

import RaftCore

struct World {
  var nodeCount: Int
  var tickMicroseconds: UInt64 = 10_000
  var heartbeatTicks = 4
  var electionTicks = 20
  var limits: Limits
  var faults: [FaultKind]
  var meanFaultGapMicroseconds: UInt64
  var networkDelayMicroseconds: UInt64
  var flushMicroseconds: UInt64
  var proposalsPerSecond: UInt64
  var maxBatch: Int
  var maxPayloadBytes: Int
  var driftPerMille: UInt64
  var lossPerMille: UInt64
  var repeatPerMille: UInt64
  var latePerMille: UInt64
  var maxLateMicroseconds: UInt64
  var crashAfterVotePerMille: UInt64

  init(seed: UInt64, options: SimulationOptions) {
    var sizes = RandomStream(seed: seed, concern: .sizes)
    let drawnCount = sizes.pick([1, 2, 3, 3, 3, 5, 5, 5, 7])
    nodeCount = options.nodeCount ?? drawnCount
    faults = FaultKind.allCases.filter { _ in sizes.chance(perMille: 500) }
    meanFaultGapMicroseconds = sizes.pick([100_000, 400_000, 1_000_000, 3_000_000])
    networkDelayMicroseconds = sizes.pick([50, 200, 1000, 5000])
    flushMicroseconds = sizes.pick([100, 500, 3000, 15_000])
    electionTicks = sizes.pick([6, 12, 20])
    let drawnRate = sizes.pick([20, 60, 150] as [UInt64])
    proposalsPerSecond = options.proposalsPerSecond ?? drawnRate
    maxBatch = sizes.pick([1, 3, 20])
    maxPayloadBytes = sizes.pick([8, 64, 400])
    driftPerMille = sizes.pick([0, 10, 100])
    lossPerMille = faults.contains(.lostMessage) ? sizes.pick([5, 50, 200]) : 0
    repeatPerMille = faults.contains(.repeatedMessage) ? sizes.pick([5, 50, 200]) : 0
    latePerMille = faults.contains(.lateMessage) ? sizes.pick([5, 50, 200]) : 0
    maxLateMicroseconds = sizes.pick([30_000, 200_000, 1_000_000])
    crashAfterVotePerMille = sizes.pick([50, 300, 800])
    limits = Limits(
      maxMessageBytes: sizes.pick([200, 2000, 1 << 20]), maxInFlightMessages: sizes.pick([1, 4, 256]),
      maxInFlightBytes: sizes.pick([500, 10_000, 16 << 20]), maxUncommittedBytes: sizes.pick([2000, 64 << 20]),
      cachedEntryBytes: sizes.pick([0, 2000, 64 << 20]), maxCachedEntries: sizes.pick([0, 20, 256 << 10]),
      maxPendingReads: sizes.pick([4, 1000]), maxReadRounds: sizes.pick([1, 4]))
    if let bug = options.plantedBug { provoke(bug) }
  }

  /// A planted bug can only show where its occasion comes up. Everything else stays as the seed drew it.
  private mutating func provoke(_ bug: PlantedBug) {
    nodeCount = max(nodeCount, 3)
    switch bug {
    case .voteNotPersisted, .termNotPersisted:
      // Two candidates of one term, and a voter that forgets between them: slow answers to hasty elections.
      faults = [.crashAfterVote, .powerCut, .linkCut, .lateMessage]
      nodeCount = 3
      meanFaultGapMicroseconds = 400_000
      electionTicks = 6
      networkDelayMicroseconds = 5000
      flushMicroseconds = 500
      lossPerMille = 0
      latePerMille = 400
      maxLateMicroseconds = 60_000
      crashAfterVotePerMille = 700
    case .diskForgets, .reportedBeforeDurable:
      insert([.crash, .powerCut, .isolation])
    case .voteForged, .acknowledgementForged, .payloadChanged:
      insert([.crash, .isolation])
    case .proposalRepeated:
      insert([.repeatedMessage])
      repeatPerMille = max(repeatPerMille, 50)
    case .readFromMemory, .readBeforeApplied, .confirmationForged:
      insert([.isolation, .splitPartition])
    case .diskFallsSilent:
      break
    }
  }

  private mutating func insert(_ kinds: [FaultKind]) {
    faults = FaultKind.allCases.filter { faults.contains($0) || kinds.contains($0) }
  }
}
