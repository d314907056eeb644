// What waits for the writer: writes in their order, and raises and seeds before them.
//
// Must never grow without bound: writes beyond the limit are refused at the door. Raises are few and always let in.

import FencingCore

struct WriteJob: Sendable {
  let request: WriteRequest
  let complete: @Sendable (Result<WriteOutcome, RequestFailure>) -> Void
  /// Set when a group was lost with this job in it: it then runs in a transaction of its own.
  var isAlone = false
}

struct RaiseJob: Sendable {
  let claims: FenceClaims
  let complete: @Sendable (Result<RaiseReceipt, RequestFailure>) -> Void
}

/// The core's word on a scope that is closed.
struct SeedJob: Sendable {
  let claims: FenceClaims
  let complete: @Sendable (Result<Floor, RequestFailure>) -> Void
}

final class WriterQueue: Sendable {
  struct Batch: Sendable {
    var raises: [RaiseJob] = []
    var seeds: [SeedJob] = []
    var loads: [LoadJob] = []
    var writes: [WriteJob] = []
  }

  private struct State: Sendable {
    var waiting = Batch()
    /// Writes that were let in and not answered yet, here or with the writer.
    var unanswered = 0
    var isClosed = false
  }

  private let monitor = Monitor(State())
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  var unanswered: Int { monitor.read { $0.unanswered } }

  func answered(_ count: Int) { monitor.withLock { $0.unanswered -= count } }

  /// Answers why the job was not taken, or `nil`.
  func add(_ job: WriteJob) -> RequestFailure? {
    monitor.withLock { state in
      if state.isClosed { return .closed }
      if state.unanswered >= limit { return .overloaded(queued: state.unanswered) }
      state.unanswered += 1
      state.waiting.writes.append(job)
      return nil
    }
  }

  func add(_ job: RaiseJob) -> RequestFailure? {
    monitor.withLock { state in
      if state.isClosed { return .closed }
      state.waiting.raises.append(job)
      return nil
    }
  }

  func add(_ job: SeedJob) -> RequestFailure? {
    monitor.withLock { state in
      if state.isClosed { return .closed }
      state.waiting.seeds.append(job)
      return nil
    }
  }

  /// There is at most one of them; see `FencedDatabase.load`.
  func add(_ job: LoadJob) -> RequestFailure? {
    monitor.withLock { state in
      if state.isClosed { return .closed }
      state.waiting.loads.append(job)
      return nil
    }
  }

  func close() { monitor.withLock { $0.isClosed = true } }

  /// Blocks until something waits; answers `nil` once the queue is closed and empty.
  func next() -> Batch? {
    monitor.wait { state -> Batch?? in
      let waiting = state.waiting
      let isEmpty =
        waiting.raises.isEmpty && waiting.seeds.isEmpty && waiting.loads.isEmpty && waiting.writes.isEmpty
      if isEmpty { return state.isClosed ? .some(nil) : nil }
      defer { state.waiting = Batch() }
      return .some(state.waiting)
    }
  }

  /// Takes the raises that came while the writer was at work, without waiting.
  func takeRaises() -> [RaiseJob] {
    monitor.withLock { state in
      defer { state.waiting.raises = [] }
      return state.waiting.raises
    }
  }

  var hasRaises: Bool { monitor.read { !$0.waiting.raises.isEmpty } }

  /// Whether a raise waits that makes a write under any of `claims` stale.
  func overtakes(_ claims: [FenceClaims]) -> Bool {
    monitor.read { state in
      state.waiting.raises.contains { raise in
        claims.contains {
          raise.claims.scope == $0.scope && raise.claims.cluster == $0.cluster && raise.claims.authority > $0.authority
        }
      }
    }
  }
}
