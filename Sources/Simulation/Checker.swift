// Owns the rules of Raft, checked after each step against all nodes at once.
// Must never: touch a node. It only sees what nodes write, send to their state machines and claim to be.
// Invariant: `committed` is what any node ever committed, in order, and it only grows.

import RaftCore

struct Checker {
  struct Broken: Error {
    var rule: String
    var detail: String
  }

  private struct Leadership {
    var node: Int
    var life: UInt64
  }

  /// An entry as it was first seen, and the term of the entry before it.
  private struct Fact {
    var entry: Entry
    var previousTerm: Term
  }

  private struct Proposed {
    var node: Int
    var life: UInt64
    var committedAt: UInt64 = 0
    var isAcknowledged = false
    var isRefused = false
  }

  private(set) var committed: [Entry] = []
  /// For each committed entry the term of the leader that committed it, which may be above the entry's own.
  private var committedInTerm: [Term] = []
  private(set) var elections = 0
  private(set) var acknowledged = 0
  private(set) var refused = 0
  private var leaders: [Leadership?] = []
  private var facts: [[Fact]] = []
  private var proposals: [Proposed] = []

  var lastTerm: Term { Term(UInt64(max(0, leaders.count - 1))) }
  var proposed: Int { proposals.count }

  // MARK: Elections

  /// Election safety and leader completeness (Raft paper, figure 3).
  mutating func elected(_ node: Int, life: UInt64, term: Term, log: SimulatedDisk.Image) throws(Broken) {
    let position = Int(term.rawValue)
    while leaders.count <= position { leaders.append(nil) }
    if let earlier = leaders[position] {
      throw Broken(
        rule: "at most one leader a term",
        detail: "\(term) is led by node \(node + 1) in its life \(life) and by node \(earlier.node + 1) in its life "
          + "\(earlier.life)")
    }
    leaders[position] = Leadership(node: node, life: life)
    elections += 1
    try leads(node, term: term, log: log)
  }

  /// A leader has every entry that leaders of earlier terms committed.
  func leads(_ node: Int, term: Term, log: SimulatedDisk.Image) throws(Broken) {
    // An entry of an earlier term may have been committed by a leader of a later one than this (figure 8).
    guard let position = committedInTerm.lastIndex(where: { $0 < term }) else { return }
    let last = committed[position]
    guard log.term(at: last.index) == last.term else {
      throw Broken(
        rule: "a leader has every committed entry",
        detail:
          "node \(node + 1) leads \(term) without \(last.index) of \(last.term), its log ends at \(log.entries.count)")
    }
  }

  // MARK: Logs

  /// Log matching (Raft paper, figure 3): index and term name one entry and everything before it.
  mutating func wrote(_ node: Int, _ entries: [Entry], log: SimulatedDisk.Image) throws(Broken) {
    guard let first = entries.first else { return }
    var previousTerm = log.term(at: first.index.previous) ?? Term(0)
    var previousClock = first.index.rawValue > 1 ? log.entries[Int(first.index.rawValue) - 2].clockMilliseconds : 0
    for entry in entries {
      guard entry.clockMilliseconds >= previousClock, entry.term >= previousTerm else {
        throw Broken(
          rule: "terms and clocks of entries never fall",
          detail: "node \(node + 1) wrote \(entry.index) of \(entry.term) at \(entry.clockMilliseconds) ms after "
            + "\(previousTerm) at \(previousClock) ms")
      }
      try check(entry, after: previousTerm, node)
      previousTerm = entry.term
      previousClock = entry.clockMilliseconds
    }
  }

  private mutating func check(_ entry: Entry, after previousTerm: Term, _ node: Int) throws(Broken) {
    let position = Int(entry.index.rawValue)
    while facts.count <= position { facts.append([]) }
    if let fact = facts[position].first(where: { $0.entry.term == entry.term }) {
      guard fact.entry == entry, fact.previousTerm == previousTerm else {
        throw Broken(
          rule: "logs match",
          detail: "node \(node + 1) has another \(entry.index) of \(entry.term), or another entry before it, "
            + "than was first written")
      }
    } else {
      facts[position].append(Fact(entry: entry, previousTerm: previousTerm))
    }
  }

  // MARK: Commits

  /// A committed entry never changes.
  mutating func applied(_ entry: Entry, by node: Int, in term: Term) throws(Broken) {
    let position = Int(entry.index.rawValue) - 1
    if position < committed.count {
      guard committed[position] == entry else {
        throw Broken(
          rule: "a committed entry never changes",
          detail: "node \(node + 1) applied \(entry.index) of \(entry.term), another committed one of "
            + "\(committed[position].term)")
      }
      return
    }
    guard position == committed.count else {
      throw Broken(rule: "entries are applied in order", detail: "node \(node + 1) applied \(entry.index) too early")
    }
    committed.append(entry)
    committedInTerm.append(term)
    try countApplication(of: entry)
  }

  /// Called with the newest entry of a commit: those before it are on the same disks.
  func isOnQuorum(_ entry: Entry, nodes: [SimulatedNode]) throws(Broken) {
    var holders = 0
    for node in nodes where node.disk.durable.term(at: entry.index) == entry.term { holders += 1 }
    guard holders > nodes.count / 2 else {
      throw Broken(
        rule: "what is committed is on a quorum of disks",
        detail: "\(entry.index) of \(entry.term) is on \(holders) of \(nodes.count)")
    }
  }

  // MARK: Proposals

  mutating func propose(by node: Int, life: UInt64) -> UInt64 {
    proposals.append(Proposed(node: node, life: life))
    return UInt64(proposals.count - 1)
  }

  private mutating func countApplication(of entry: Entry) throws(Broken) {
    guard entry.kind == .command else { return }
    guard let id = ProposalPayload.id(of: entry.payload), id < proposals.count else {
      throw Broken(rule: "nothing is invented", detail: "\(entry.index) holds what nobody proposed")
    }
    let proposal = proposals[Int(id)]
    guard proposal.committedAt == 0 else {
      throw Broken(
        rule: "a proposal is applied at most once",
        detail: "proposal \(id) is at index \(proposal.committedAt) and at \(entry.index)")
    }
    guard !proposal.isRefused else {
      throw Broken(
        rule: "a refused proposal is never applied", detail: "proposal \(id) was refused, see \(entry.index)")
    }
    proposals[Int(id)].committedAt = entry.index.rawValue
  }

  mutating func refuse(_ id: UInt64) throws(Broken) {
    guard proposals[Int(id)].committedAt == 0 else {
      throw Broken(rule: "a refused proposal is never applied", detail: "proposal \(id) was applied, then refused")
    }
    if !proposals[Int(id)].isRefused { refused += 1 }
    proposals[Int(id)].isRefused = true
  }

  /// The node that was asked answers its client when it has applied the entry itself. True when it did now.
  mutating func acknowledge(_ entry: Entry, by node: Int, life: UInt64) -> Bool {
    guard entry.kind == .command, let id = ProposalPayload.id(of: entry.payload) else { return false }
    let proposal = proposals[Int(id)]
    guard proposal.node == node, proposal.life == life, !proposal.isAcknowledged else { return false }
    proposals[Int(id)].isAcknowledged = true
    acknowledged += 1
    return true
  }

  // MARK: Reads

  /// A read sees everything that anybody had committed when it was asked for.
  func served(_ id: UInt64, by node: Int, applied: Int, floor: Int) throws(Broken) {
    guard applied >= floor else {
      throw Broken(
        rule: "a read is never stale",
        detail: "node \(node + 1) served read \(id) at index \(applied), but \(floor) was committed when it was asked")
    }
  }
}

/// A proposal's payload: its number, then filler.
enum ProposalPayload {
  static func make(id: UInt64, sizeBytes: Int) -> [UInt8] {
    var payload = [UInt8](repeating: 0x5A, count: max(8, sizeBytes))
    for position in 0..<8 { payload[position] = UInt8(truncatingIfNeeded: id >> UInt64(8 * position)) }
    return payload
  }

  static func id(of payload: [UInt8]) -> UInt64? {
    guard payload.count >= 8 else { return nil }
    var id: UInt64 = 0
    for position in 0..<8 { id |= UInt64(payload[position]) << UInt64(8 * position) }
    return id
  }
}
