// Owns the sizes of one world, drawn from its seed.
// Must never: be drawn from any other stream than `sizes`, or the same seed would differ between options.
// Invariant: each seed has its own subset of faults and its own limits, some of them absurdly small ("swarm").

import RaftCore

struct World {
  var nodeCount: Int
  var tickMicroseconds: UInt64
  var heartbeatTicks = 4
  var electionTicks = 20
  var limits: Limits
  var faults: [FaultKind]
  var meanFaultGapMicroseconds: UInt64
  var driftPerMille: UInt64

  var network: NetworkSizes
  var disk: DiskSizes
  var load: LoadSizes
  var sessions: SessionSizes
  /// Nil where nobody contends for scopes on terms.
  var contention: Contention?
  var crashAfterVotePerMille: UInt64

  struct NetworkSizes {
    var delayMicroseconds: UInt64
    var lossPerMille: UInt64 = 0
    var repeatPerMille: UInt64 = 0
    var latePerMille: UInt64 = 0
    var maxLateMicroseconds: UInt64
  }

  struct DiskSizes {
    var flushMicroseconds: UInt64
    /// A snapshot is taken once this many entries were applied since the last; 0 for never.
    var snapshotEveryEntries: Int
    /// What can still be written once the disk is full.
    var reserveBytes: Int
  }

  struct LoadSizes {
    var operationsPerSecond: UInt64
    var maxBatch: Int
    var maxPayloadBytes: Int
    var keys: Int
    var readPerMille: UInt64
    var comparePerMille: UInt64
    var deletePerMille: UInt64
    var exactlyOncePerMille: UInt64
    var compactionPerMille: UInt64
    var watchers: Int
  }

  struct SessionSizes {
    var count: Int
    var scopes: Int
    var gateways: Int
    var ttlMilliseconds: UInt64
    /// Holders raise the floor everywhere before they serve.
    var usesBarrier: Bool
  }

  init(seed: UInt64, options: SimulationOptions) {
    var sizes = RandomStream(seed: seed, concern: .sizes)
    let drawnCount = sizes.pick([1, 2, 3, 3, 3, 5, 5, 5, 7])
    nodeCount = options.nodeCount ?? drawnCount
    faults = FaultKind.allCases.filter { _ in sizes.chance(perMille: 500) }
    // A quarter of the worlds know few faults at once, so that rare ones are not drowned by frequent ones.
    if sizes.chance(perMille: 250) { faults = faults.filter { _ in sizes.chance(perMille: 300) } }
    meanFaultGapMicroseconds = sizes.pick([100_000, 400_000, 1_000_000, 3_000_000])
    tickMicroseconds = sizes.pick([10_000, 20_000, 50_000])
    electionTicks = sizes.pick([6, 10, 20])
    heartbeatTicks = sizes.pick([2, 4])
    driftPerMille = faults.contains(.clockDrift) ? sizes.pick([1, 10, 100]) : 0
    crashAfterVotePerMille = sizes.pick([50, 300, 800])
    network = Self.drawNetwork(&sizes, faults)
    disk = DiskSizes(
      flushMicroseconds: sizes.pick([100, 500, 3000, 15_000]),
      snapshotEveryEntries: sizes.pick([0, 3, 20, 100, 100]), reserveBytes: 64 << 10)
    load = Self.drawLoad(&sizes)
    if let rate = options.operationsPerSecond { load.operationsPerSecond = rate }
    sessions = SessionSizes(
      count: sizes.pick([0, 2, 4, 6]), scopes: sizes.pick([1, 1, 2]), gateways: sizes.pick([1, 2]),
      ttlMilliseconds: sizes.pick([800, 2000, 5000]), usesBarrier: sizes.chance(perMille: 500))
    limits = Self.drawLimits(&sizes)
    // A history that nobody compacts makes every snapshot larger than the one before.
    if disk.snapshotEveryEntries > 0 {
      load.compactionPerMille = max(load.compactionPerMille, disk.snapshotEveryEntries > 20 ? 5 : 30)
    }
    contention = Contention(seed: seed, plantedBug: options.plantedBug)
    if let bug = options.plantedBug { provoke(bug) }
  }

  private static func drawNetwork(_ sizes: inout RandomStream, _ faults: [FaultKind]) -> NetworkSizes {
    var network = NetworkSizes(
      delayMicroseconds: sizes.pick([50, 200, 1000, 5000]),
      maxLateMicroseconds: sizes.pick([30_000, 200_000, 1_000_000]))
    if faults.contains(.lostMessage) { network.lossPerMille = sizes.pick([5, 50, 200]) }
    if faults.contains(.repeatedMessage) { network.repeatPerMille = sizes.pick([5, 50, 200]) }
    if faults.contains(.lateMessage) { network.latePerMille = sizes.pick([5, 50, 200]) }
    return network
  }

  private static func drawLoad(_ sizes: inout RandomStream) -> LoadSizes {
    LoadSizes(
      operationsPerSecond: sizes.pick([20, 60, 150]), maxBatch: sizes.pick([1, 3, 20]),
      maxPayloadBytes: sizes.pick([8, 64, 400]), keys: sizes.pick([1, 4, 16, 100]),
      readPerMille: sizes.pick([100, 400, 700]), comparePerMille: sizes.pick([0, 200, 600]),
      deletePerMille: sizes.pick([0, 50]), exactlyOncePerMille: sizes.pick([0, 300]),
      compactionPerMille: sizes.pick([0, 5, 30]), watchers: sizes.pick([0, 1, 3]))
  }

  private static func drawLimits(_ sizes: inout RandomStream) -> Limits {
    Limits(
      maxMessageBytes: sizes.pick([200, 2000, 1 << 20]), maxInFlightMessages: sizes.pick([1, 4, 256]),
      maxInFlightBytes: sizes.pick([500, 10_000, 16 << 20]), maxUncommittedBytes: sizes.pick([2000, 64 << 20]),
      cachedEntryBytes: sizes.pick([0, 2000, 64 << 20]), maxCachedEntries: sizes.pick([0, 20, 256 << 10]),
      maxPendingReads: sizes.pick([4, 1000]), maxReadRounds: sizes.pick([1, 4]),
      maxSnapshotChunkBytes: sizes.pick([64, 1000, 1 << 20]), trailingEntries: sizes.pick([0, 5, 100]),
      maxPromotionLag: sizes.pick([3, 20, 1000]), maxLearners: sizes.pick([1, 2]))
  }

  func has(_ fault: FaultKind) -> Bool { faults.contains(fault) }

  mutating func insert(_ kinds: [FaultKind]) {
    faults = FaultKind.allCases.filter { faults.contains($0) || kinds.contains($0) }
  }
}
