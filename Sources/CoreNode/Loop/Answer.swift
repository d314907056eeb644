// What a caller is told, and how it gets back to the event loop on which the caller waits.

import CoordinationCore
import NIOCore
import RaftCore

/// How a command ended, from the point of view of the node that proposed it.
enum Answer: Sendable {
  /// Applied: the outcome, the snapshot in which it first shows, and the store's revision right after it. The snapshot
  /// may be newer, since a turn applies many commands before it publishes one.
  case applied(Outcome, Snapshot, revision: Revision)
  /// A change of members or of the leader is complete, and the snapshot shows it.
  case done(Snapshot)
  /// Refused before it entered the log: it was not and will not be applied.
  case refused(Refusal)
  /// Larger than a request may be: it did not enter the log.
  case tooLarge
  /// No answer in time: it may have been applied or may yet be.
  case timedOut
  /// The node is stopping: as for `timedOut`.
  case stopping

  /// The store's revision right after a command that was applied.
  var revision: Revision? {
    if case .applied(_, _, let revision) = self { revision } else { nil }
  }
}

/// A caller that waits on an event loop. The body runs there, once.
struct Completion: Sendable {
  let eventLoop: any EventLoop
  /// When the call was made, by the monotonic clock.
  let proposedNanoseconds: UInt64
  let body: @Sendable (Answer) -> Void

  init(eventLoop: any EventLoop, body: @escaping @Sendable (Answer) -> Void) {
    self.eventLoop = eventLoop
    proposedNanoseconds = MachineClock.monotonicNanoseconds
    self.body = body
  }
}

struct ReadCompletion: Sendable {
  let eventLoop: any EventLoop
  let body: @Sendable (Result<Snapshot, ReadFailure>) -> Void
}

enum ReadFailure: Error, Sendable {
  case refused(Refusal)
  case timedOut
  case stopping
}

/// Gathers what a turn of the loop has to say and hands it over with one wake-up for each event loop.
struct Replies {
  private struct Batch {
    let eventLoop: any EventLoop
    var items: [@Sendable () -> Void]
    var marks: [CommitMark] = []
  }

  private var batches: [Batch] = []

  mutating func add(_ eventLoop: any EventLoop, marked mark: CommitMark? = nil, _ item: @escaping @Sendable () -> Void)
  {
    var place = batches.firstIndex { $0.eventLoop === eventLoop }
    if let place {
      batches[place].items.append(item)
    } else {
      place = batches.count
      batches.append(Batch(eventLoop: eventLoop, items: [item]))
    }
    if let mark, let place { batches[place].marks.append(mark) }
  }

  /// - Parameter timeline: the place of the commit's timeline among those that `send` is given, if it has one.
  mutating func add(_ completion: Completion, _ answer: Answer, timeline: Int? = nil) {
    let mark = timeline.map { CommitMark(proposed: completion.proposedNanoseconds, timeline: $0) }
    add(completion.eventLoop, marked: mark) { completion.body(answer) }
  }

  mutating func add(_ completion: ReadCompletion, _ result: Result<Snapshot, ReadFailure>) {
    add(completion.eventLoop) { completion.body(result) }
  }

  /// Invariant: called after the snapshot that the replies speak of was published, so that whoever hears of a revision
  /// can read it.
  mutating func send(timelines: [CommitTimeline], counting figures: CommitFigures) {
    for batch in batches {
      let (items, marks) = (batch.items, batch.marks)
      batch.eventLoop.execute {
        for item in items { item() }
        guard !marks.isEmpty else { return }
        figures.add(marks, timelines: timelines, replied: MachineClock.monotonicNanoseconds)
      }
    }
    batches.removeAll(keepingCapacity: true)
  }
}
