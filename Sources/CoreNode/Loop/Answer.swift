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
  let body: @Sendable (Answer) -> Void
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
  private var batches: [(eventLoop: any EventLoop, items: [@Sendable () -> Void])] = []

  mutating func add(_ eventLoop: any EventLoop, _ item: @escaping @Sendable () -> Void) {
    for index in batches.indices where batches[index].eventLoop === eventLoop {
      batches[index].items.append(item)
      return
    }
    batches.append((eventLoop, [item]))
  }

  mutating func add(_ completion: Completion, _ answer: Answer) {
    add(completion.eventLoop) { completion.body(answer) }
  }

  mutating func add(_ completion: ReadCompletion, _ result: Result<Snapshot, ReadFailure>) {
    add(completion.eventLoop) { completion.body(result) }
  }

  /// Invariant: called after the snapshot that the replies speak of was published, so that whoever hears of a revision
  /// can read it.
  mutating func send() {
    for batch in batches {
      let items = batch.items
      batch.eventLoop.execute { for item in items { item() } }
    }
    batches.removeAll(keepingCapacity: true)
  }
}
