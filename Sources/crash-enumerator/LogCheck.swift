// Owns what must hold of a log after a power cut: it opens; everything that was acknowledged is there; nothing is there
// that was not handed over; what was being written is there as a whole persist or not at all; and it goes on from there.

import Glibc
import LogStorage
import RaftCore

struct LogCheck {
  private let plan: LogPlan
  private let path: String
  private var checked = 0

  init(_ plan: LogPlan, path: String) {
    self.plan = plan
    self.path = path
  }

  /// Why the log in `path` is not what it must be, or nil.
  mutating func problem(_ progress: Progress) -> String? {
    let (isMade, done, begun) = (progress.isMade, progress.done, progress.begun)
    checked += 1
    do {
      let identity = try LogStorage.existingIdentity(directory: path)
      guard identity == LogPlan.identity || (identity == nil && !isMade) else {
        return "its identity is \(identity.map { "\($0)" } ?? "gone")"
      }
    } catch {
      // A directory that was never made is none.
      if isMade { return "its identity cannot be read: \(error)" }
    }
    do {
      let (storage, restored) = try LogStorage.open(
        directory: path, identity: LogPlan.identity, options: plan.options)
      defer { storage.close() }
      if let damage = restored.damage { return "a power cut is taken for damage: \(damage)" }
      let found = content(restored)
      if let problem = try problem(found, restored, storage, done: done, begun: begun) { return problem }
      return checked % 16 == 0 ? try problemGoingOn(storage, from: found) : nil
    } catch {
      return "it does not open: \(error)"
    }
  }

  private func content(_ restored: Restored) -> LogContent {
    let base = restored.firstIndex.previous
    // What the base was is told where the log holds nothing else.
    let runs = restored.termRuns.filter { $0.first <= base }
    let clock = restored.tail.isEmpty ? restored.lastClockMilliseconds : 0
    return LogContent(
      hardState: restored.hardState,
      base: LogBase(index: base, term: runs.last?.term ?? Term(0), clockMilliseconds: clock), entries: restored.tail,
      snapshot: restored.snapshot)
  }

  private func problem(
    _ found: LogContent, _ restored: Restored, _ storage: LogStorage, done: Int, begun: Int
  ) throws -> String? {
    guard restored.lastIndex == found.lastIndex else {
      return
        "\(found.entries.count) entries were read behind \(found.base.index), the last one is \(restored.lastIndex)"
    }
    guard restored.membershipEntries == found.entries.filter({ $0.kind == .membership }) else {
      return "the membership entries are not those of the log"
    }
    if let snapshot = found.snapshot, let problem = try problem(with: snapshot, in: storage) { return problem }
    let possible = plan.contents[done...begun]
    if possible.contains(where: { $0.isSeen(as: found) }) { return nil }
    // The head of a torn journal record still tells its term and vote, which may be ahead of entries but never behind.
    if possible.indices.contains(where: { isSeen(possible[$0], withHardStateOf: possible[$0...], as: found) }) {
      return nil
    }
    // A long suffix is cut in steps, of which a power cut may leave any number done.
    for next in plan.contents.indices where next > done && next <= begun {
      let (before, after) = (plan.contents[next - 1], plan.contents[next])
      var partial = before
      partial.hardState = after.hardState
      partial.entries = Array(before.entries.prefix(found.entries.count))
      let common = zip(before.entries, after.entries).prefix(while: { $0 == $1 }).count
      if partial.isSeen(as: found), found.entries.count >= common, before.base == after.base { return nil }
    }
    return "it is \(text(found)), which it was at no time between acknowledging \(done) changes "
      + "(\(text(plan.contents[done]))) and being handed \(begun) (\(text(plan.contents[begun])))"
  }

  private func isSeen(
    _ content: LogContent, withHardStateOf later: ArraySlice<LogContent>, as found: LogContent
  ) -> Bool {
    later.contains { ahead in
      var content = content
      content.hardState = ahead.hardState
      return content.isSeen(as: found)
    }
  }

  /// Whether this is what the log was after one of these changes. The hard state may be that of a later one: it is whole
  /// by itself in the journal, and a term or a vote that is known too early does no harm, where one that is forgotten does.
  private func isOne(of changes: ClosedRange<Int>, _ found: LogContent) -> Bool {
    changes.contains { change in
      var content = plan.contents[change]
      guard plan.contents[change...changes.upperBound].contains(where: { $0.hardState == found.hardState }) else {
        return false
      }
      content.hardState = found.hardState
      return content.isSeen(as: found)
    }
  }

  private func text(_ content: LogContent) -> String {
    "\(content.entries.count) entries behind \(content.base.index.rawValue), term \(content.hardState.term.rawValue), vote "
      + "\(content.hardState.votedFor?.rawValue ?? 0), snapshot \(content.snapshot?.index.rawValue ?? 0)"
  }

  private func problem(with snapshot: SnapshotPoint, in storage: LogStorage) throws -> String? {
    guard let newest = storage.snapshots.newest(), newest.point == snapshot else {
      return "the newest snapshot is not the one that goes with the log"
    }
    let content = try storage.snapshots.content(of: newest)
    var bytes: [UInt8] = []
    while let piece = try content.next() { bytes += piece }
    return bytes == plan.snapshots[snapshot.index]
      ? nil : "the bytes of the snapshot at \(snapshot.index) are not its own"
  }

  /// The log that was found takes another entry, and has it after the next opening.
  private func problemGoingOn(_ storage: LogStorage, from found: LogContent) throws -> String? {
    let term = Term(found.hardState.term.rawValue + 1)
    let entry = Entry(
      index: found.lastIndex.next, term: term,
      clockMilliseconds: 1 << 40, kind: .command, payload: [1, 2, 3])
    let hardState = HardState(term: term, votedFor: nil)
    try storage.append([Persist(sequence: 1 << 40, hardState: hardState, removeFrom: nil, entries: [entry])])
    guard try storage.entries(after: found.base.index, through: entry.index, maxBytes: .max) == found.entries + [entry]
    else { return "what was read at the opening is not what is read afterwards" }
    storage.close()
    let (again, restored) = try LogStorage.open(directory: path, identity: LogPlan.identity, options: plan.options)
    defer { again.close() }
    guard restored.tail == found.entries + [entry], restored.hardState == hardState else {
      return "an entry that was added after the power cut is not there at the next opening"
    }
    return nil
  }
}

extension LogContent {
  /// Whether this is what an opening has told, which says less of the base than is known here.
  func isSeen(as found: LogContent) -> Bool {
    guard hardState == found.hardState, base.index == found.base.index, entries == found.entries,
      snapshot == found.snapshot
    else { return false }
    // The base's term is told unless an entry of the same term follows; its clock, while no entry does.
    return (base.index == .beforeFirst || found.base.term == base.term || found.base.term == Term(0))
      && (!entries.isEmpty || found.base.clockMilliseconds == base.clockMilliseconds)
  }
}
