// Owns the account of what was handed to the disk and what is known to be durable.
// Must never: call an entry durable because another entry of the same index once was.
// Invariants: `durableThrough <= handedThrough <= log.lastIndex`; the *current* log is on disk through
// `durableThrough`.
//
// The disk works while the core goes on, so a write may be reported after its entries were truncated and replaced.
// Every outstanding write therefore remembers how much of the current log it covers, and a truncation lowers that in
// all of them: a late report can then only vouch for the entries that are still the same (the "ABA" of asynchronous
// appends that etcd's raft describes).

import DequeModule

struct WriteLedger: Sendable {
  private struct Outstanding: Sendable {
    var sequence: UInt64
    var covers: Index
  }

  private(set) var durableThrough: Index
  private(set) var handedThrough: Index
  private var outstanding: Deque<Outstanding> = []
  private var lastSequence: UInt64 = 0
  private var persistedSequence: UInt64 = 0
  private var removeFrom: Index?
  private var base: LogBase?
  private var isRepaired = false
  private var hardStateSequence: UInt64 = 0
  private var isHardStateChanged = false

  init(restoredThrough lastIndex: Index) {
    durableThrough = lastIndex
    handedThrough = lastIndex
  }

  /// Nothing that follows from a term or a vote may leave the node before this holds.
  var isHardStateDurable: Bool { !isHardStateChanged && hardStateSequence <= persistedSequence }

  mutating func hardStateChanged() { isHardStateChanged = true }

  mutating func truncated(from index: Index) {
    let kept = index.previous
    if index <= handedThrough {
      removeFrom = min(removeFrom ?? index, index)
      handedThrough = kept
    }
    durableThrough = min(durableThrough, kept)
    for position in outstanding.indices { outstanding[position].covers = min(outstanding[position].covers, kept) }
  }

  /// A snapshot took the place of the log. Until that is written, the disk only has the committed part of the old one.
  mutating func reset(to base: LogBase, committed: Index) {
    self.base = base
    removeFrom = nil
    handedThrough = base.index
    durableThrough = min(durableThrough, committed)
    for position in outstanding.indices { outstanding[position].covers = min(outstanding[position].covers, committed) }
  }

  /// The next write is to say that the log is whole again.
  mutating func repaired() { isRepaired = true }

  /// Everything that changed since the last write, as one write, or nil when nothing did.
  mutating func takeWrite(log: Log, hardState: HardState) -> Persist? {
    let isCut = removeFrom != nil || base != nil
    guard isHardStateChanged || isCut || isRepaired || handedThrough < log.lastIndex else { return nil }
    guard let entries = log.entries(from: handedThrough.next, through: log.lastIndex) else {
      preconditionFailure("entries after \(handedThrough) left memory before they were handed to the disk")
    }
    lastSequence += 1
    let write = Persist(
      sequence: lastSequence, hardState: isHardStateChanged ? hardState : nil, removeFrom: removeFrom, base: base,
      isRepaired: isRepaired, entries: entries)
    if isHardStateChanged { hardStateSequence = lastSequence }
    isHardStateChanged = false
    isRepaired = false
    removeFrom = nil
    base = nil
    handedThrough = log.lastIndex
    outstanding.append(Outstanding(sequence: lastSequence, covers: handedThrough))
    return write
  }

  mutating func persisted(through sequence: UInt64) {
    precondition(sequence <= lastSequence, "write \(sequence) was reported, but the last one was \(lastSequence)")
    persistedSequence = max(persistedSequence, sequence)
    while let oldest = outstanding.first, oldest.sequence <= sequence {
      durableThrough = max(durableThrough, oldest.covers)
      outstanding.removeFirst()
    }
  }
}
