// Owns the rules of Raft, checked after each step against all nodes at once.
// Must never: touch a node. It only sees what nodes write, send to their state machines and claim to be.
// Invariant: `committed` is what any node ever committed, in order, and it only grows.

import RaftCore

struct LogChecker {
  private struct Leadership {
    var node: NodeID
    var life: UInt64
  }

  /// An entry as it was first seen, and the term of the entry before it, where the writer still knew it.
  private struct Fact {
    var entry: Entry
    var previousTerm: Term?
  }

  private(set) var committed: [Entry] = []
  /// For each committed entry the term of the leader that committed it, which may be above the entry's own.
  private var committedInTerm: [Term] = []
  private(set) var elections = 0
  private var leaders: [Leadership?] = []
  /// The first entry seen at each place. Other terms at the same place are kept apart: they are few.
  private var facts: [Fact?] = []
  private var rivals: [UInt64: [Fact]] = [:]

  var lastTerm: Term { Term(UInt64(max(0, leaders.count - 1))) }
  var committedIndex: RaftCore.Index { RaftCore.Index(UInt64(committed.count)) }

  func isNews(_ index: RaftCore.Index) -> Bool { index > committedIndex }

  // MARK: Elections

  /// Election safety and leader completeness (Raft paper, figure 3).
  mutating func elected(_ node: SimulatedNode, term: Term) throws(Broken) {
    let position = Int(term.rawValue)
    while leaders.count <= position { leaders.append(nil) }
    if let earlier = leaders[position] {
      throw Broken(
        "at most one leader a term",
        "\(term) is led by \(node.id) in its life \(node.life) and by \(earlier.node) in its life \(earlier.life)")
    }
    leaders[position] = Leadership(node: node.id, life: node.life)
    elections += 1
    try leads(node, term: term)
  }

  /// A leader has every entry that leaders of earlier terms committed.
  func leads(_ node: SimulatedNode, term: Term) throws(Broken) {
    // An entry of an earlier term may have been committed by a leader of a later one than this (figure 8).
    guard let position = committedInTerm.lastIndex(where: { $0 < term }) else { return }
    let last = committed[position]
    let log = node.disk.written
    guard log.base.index > last.index || log.term(at: last.index) == last.term else {
      throw Broken(
        "a leader has every committed entry",
        "\(node.id) leads \(term) without \(last.index) of \(last.term), its log ends at \(log.lastIndex)")
    }
  }

  // MARK: Logs

  /// Log matching (Raft paper, figure 3): index and term name one entry and everything before it.
  mutating func wrote(_ node: SimulatedNode, _ entries: [Entry]) throws(Broken) {
    guard let first = entries.first else { return }
    let log = node.disk.written
    var previousTerm = log.term(at: first.index.previous)
    var previousClock = log.clock(at: first.index.previous) ?? 0
    for entry in entries {
      guard entry.clockMilliseconds >= previousClock, entry.term >= previousTerm ?? Term(0) else {
        throw Broken(
          "terms and clocks of entries never fall",
          "\(node.id) wrote \(entry.index) of \(entry.term) at \(entry.clockMilliseconds) ms after "
            + "\(previousTerm?.description ?? "nothing") at \(previousClock) ms")
      }
      try check(entry, after: previousTerm, node)
      previousTerm = entry.term
      previousClock = entry.clockMilliseconds
    }
  }

  private mutating func check(_ entry: Entry, after previousTerm: Term?, _ node: SimulatedNode) throws(Broken) {
    let position = Int(entry.index.rawValue)
    while facts.count <= position { facts.append(nil) }
    if let fact = facts[position], fact.entry.term == entry.term {
      try compare(entry, previousTerm, with: fact, node)
    } else if facts[position] == nil {
      facts[position] = Fact(entry: entry, previousTerm: previousTerm)
    } else if let fact = rivals[entry.index.rawValue]?.first(where: { $0.entry.term == entry.term }) {
      try compare(entry, previousTerm, with: fact, node)
    } else {
      rivals[entry.index.rawValue, default: []].append(Fact(entry: entry, previousTerm: previousTerm))
    }
  }

  private func compare(
    _ entry: Entry, _ previousTerm: Term?, with fact: Fact, _ node: SimulatedNode
  ) throws(Broken) {
    let isSamePast = previousTerm == nil || fact.previousTerm == nil || fact.previousTerm == previousTerm
    guard fact.entry == entry, isSamePast else {
      throw Broken(
        "logs match",
        "\(node.id) has another \(entry.index) of \(entry.term), or another entry before it, than was first written")
    }
  }

  // MARK: Commits

  /// A committed entry never changes.
  mutating func applied(_ entry: Entry, by node: SimulatedNode, in term: Term) throws(Broken) {
    let position = Int(entry.index.rawValue) - 1
    if position < committed.count {
      guard committed[position] == entry else {
        throw Broken(
          "a committed entry never changes",
          "\(node.id) applied \(entry.index) of \(entry.term), another committed one of "
            + "\(committed[position].term)")
      }
      return
    }
    guard position == committed.count else {
      throw Broken("entries are applied in order", "\(node.id) applied \(entry.index) too early")
    }
    committed.append(entry)
    committedInTerm.append(term)
  }
}
