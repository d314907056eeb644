// Owns what must hold of a log after a power cut: it opens; everything that was acknowledged is there; nothing is there
// that was not handed over; what was being written is there as a whole persist or not at all; and it goes on from there.

import CrashStates
import Glibc
import LogStorage
import RaftCore

struct LogCheck {
  private let plan: LogPlan
  private let path: String
  /// For each number of marks: how many persists were acknowledged and handed over, and whether the log was made.
  private var progress = [(isMade: false, done: 0, begun: 0)]
  private var checked = 0

  init(_ plan: LogPlan, path: String, calls: [Call]) throws(Failure) {
    self.plan = plan
    self.path = path
    for case .mark(let bytes) in calls {
      var now = progress[progress.count - 1]
      let text = String(decoding: bytes, as: UTF8.self)
      switch (text.first, Int(text.dropFirst())) {
      case ("o", _): now.isMade = true
      case ("b", let count?): now.begun = count
      case ("d", let count?): now.done = count
      default: throw Failure("the mark \"\(text)\" is none of this program's")
      }
      progress.append(now)
    }
  }

  /// Why the log in `path` is not what it must be after so many marks, or nil.
  mutating func problem(afterMarks marks: Int) -> String? {
    let (isMade, done, begun) = progress[marks]
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
      if restored.damage != nil { return "a power cut is taken for damage: \(restored)" }
      let found = LogContent(hardState: restored.hardState, entries: restored.tail)
      if let problem = problem(found, restored, done: done, begun: begun) { return problem }
      return checked % 16 == 0 ? try problemGoingOn(storage, from: found) : nil
    } catch {
      return "it does not open: \(error)"
    }
  }

  private func problem(_ found: LogContent, _ restored: Restored, done: Int, begun: Int) -> String? {
    guard restored.lastIndex == Index(UInt64(found.entries.count)) else {
      return "\(found.entries.count) entries were read, and the last one is \(restored.lastIndex)"
    }
    if plan.contents[done...begun].contains(found) { return nil }
    // A long suffix is cut in steps, of which a power cut may leave any number done.
    for next in plan.contents.indices where next > done && next <= begun {
      let (before, after) = (plan.contents[next - 1], plan.contents[next])
      if found.hardState == after.hardState, found.entries.count < before.entries.count,
        found.entries.elementsEqual(before.entries.prefix(found.entries.count)),
        found.entries.count >= zip(before.entries, after.entries).prefix(while: { $0 == $1 }).count
      {
        return nil
      }
    }
    return "it has \(found.entries.count) entries and \(found.hardState), which it had at no time between "
      + "acknowledging \(done) persists (\(plan.contents[done].entries.count) entries, \(plan.contents[done].hardState)) "
      + "and being handed \(begun)"
  }

  /// The log that was found takes another entry, and has it after the next opening.
  private func problemGoingOn(_ storage: LogStorage, from found: LogContent) throws -> String? {
    let term = Term(found.hardState.term.rawValue + 1)
    let entry = Entry(
      index: Index(UInt64(found.entries.count) + 1), term: term,
      clockMilliseconds: found.entries.last?.clockMilliseconds ?? 0, kind: .command, payload: [1, 2, 3])
    let hardState = HardState(term: term, votedFor: nil)
    try storage.append([Persist(sequence: 1, hardState: hardState, removeFrom: nil, entries: [entry])])
    guard try storage.entries(after: .beforeFirst, through: entry.index, maxBytes: .max) == found.entries + [entry]
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
