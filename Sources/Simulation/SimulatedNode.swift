// Owns one node of the world: the core, unchanged, and the least driver that it needs.
// Must never: let anything of one life reach the next but what its disk kept.
// Invariant: `raft` is nil exactly while the node is down.

import RaftCore

struct SimulatedNode {
  struct WaitingRead {
    var id: UInt64
    var index: UInt64
    var floor: Int
  }

  let id: NodeID
  var raft: Raft?
  /// Rises with each start. Whatever was scheduled for an earlier life is void.
  var life: UInt64 = 0
  var disk = SimulatedDisk()
  /// What came in since the last step.
  var inputs: [Input] = []
  var isScheduled = false
  var frozenUntil: UInt64 = 0
  /// How many entries the state machine has taken.
  var applied = 0
  /// Reads that were asked for: what was committed anywhere at that time.
  var readFloors: [UInt64: Int] = [:]
  /// Reads that wait until enough is applied.
  var waitingReads: [WaitingRead] = []
  /// A clock of its own: this many microseconds pass between two ticks, whatever the node believes.
  var tickMicroseconds: UInt64
  var clockOffsetMilliseconds: UInt64

  init(id: NodeID, tickMicroseconds: UInt64, clockOffsetMilliseconds: UInt64) {
    self.id = id
    self.tickMicroseconds = tickMicroseconds
    self.clockOffsetMilliseconds = clockOffsetMilliseconds
  }

  mutating func start(configuration: Configuration, tail: Int) {
    life += 1
    raft = Raft(configuration: configuration, restored: disk.restored(tail: tail))
    applied = 0
  }

  /// Returns how many writes were lost.
  mutating func stop(keepingWrites draw: UInt64?) -> Int {
    raft = nil
    inputs = []
    isScheduled = false
    frozenUntil = 0
    readFloors = [:]
    waitingReads = []
    return disk.crash(keeping: draw)
  }

  /// The entries in `(applied, through]`: from the disk what is no longer in memory, from memory the rest, which the
  /// disk may not have yet.
  func entriesToApply(through index: RaftCore.Index) throws(Checker.Broken) -> ArraySlice<Entry> {
    let after = Index(UInt64(applied))
    guard let raft else { return [] }
    if let cached = raft.cachedEntries(after: after, through: index) { return cached }
    let onDisk = min(index, raft.firstCachedIndex.previous)
    guard disk.durable.term(at: onDisk) == disk.written.term(at: onDisk) else {
      throw Checker.Broken(
        rule: "what was reported durable can be read",
        detail: "\(id) needs entries through \(onDisk), its disk has \(disk.durable.entries.count)")
    }
    let stored = disk.durable.entries[applied..<Int(onDisk.rawValue)]
    return stored + (raft.cachedEntries(after: onDisk, through: index) ?? [])
  }
}
