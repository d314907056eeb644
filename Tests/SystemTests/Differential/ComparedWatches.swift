// One server's watch stream in a comparison. How events are spread over answers is chance, for etcd sends those of the past
// in batches; so what is compared is, for each watch, the order of its events with whole revisions together, and its answers
// to being created and cancelled.

import NIOCore
import Protocol
import Synchronization
import Wire

/// Tells whoever waits that either server said something.
final class ComparedSignal: Sendable {
  private struct State {
    var version = 0
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  func change() {
    let waiters = state.withLock { state in
      state.version += 1
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Waits until the condition holds; false if it did not within that time.
  func wait(within patience: Duration = .seconds(15), until condition: @Sendable () -> Bool) async -> Bool {
    let end = ContinuousClock.now + patience
    let alarm = Task { [self] in
      try await Task.sleep(until: end)
      change()
    }
    defer { alarm.cancel() }
    while true {
      let seen = state.withLock { $0.version }
      if condition() { return true }
      if ContinuousClock.now >= end { return false }
      await withCheckedContinuation { continuation in
        let isLate = state.withLock { state in
          if state.version != seen { return true }
          state.waiters.append(continuation)
          return false
        }
        if isLate { continuation.resume() }
      }
    }
  }
}

final class ComparedWatches: ClientStreamHandler, Sendable {
  private struct State {
    /// What each watch was sent since it was last compared: its events, and that it was cancelled.
    var logs: [Int64: [String]] = [:]
    /// Answers to requests for a watch, in order.
    var created: [String] = []
    var progress: [String] = []
    var open: Set<Int64> = []
    /// Cancelled by a compaction, and so without having been asked to.
    var compacted: Set<Int64> = []
    var lastRevision: [Int64: Int64] = [:]
    var ended: String?
  }

  private let state = Mutex(State())
  private let signal: ComparedSignal

  init(signal: ComparedSignal) { self.signal = signal }

  func received(_ message: ByteBuffer) {
    state.withLock { state in
      guard let answer = try? Etcdserverpb_WatchResponse(received: message) else {
        state.ended = "an answer that is none"
        return
      }
      Self.note(answer, &state)
    }
    signal.change()
  }

  func closed(_ status: RPCStatus) {
    state.withLock { $0.ended = "\(status.code): \(status.message)" }
    signal.change()
  }

  private static func note(_ answer: Etcdserverpb_WatchResponse, _ state: inout State) {
    let id = answer.watchID
    var bare = answer
    bare.events = []
    bare.fragment = false
    bare.resumeRevision = 0
    if bare.hasHeader { bare.header.mask() }
    if answer.created {
      state.created.append(bare.line)
      if !answer.canceled {
        state.open.insert(id)
        state.compacted.remove(id)
      }
      return
    }
    for event in answer.events {
      state.logs[id, default: []].append(event.line)
      // A header that is behind its events would have a client resume too early.
      if answer.header.revision < event.kv.modRevision {
        state.logs[id, default: []].append("a header with \(answer.header.revision) below this event's revision")
      }
      if event.kv.modRevision < state.lastRevision[id, default: 0] {
        state.logs[id, default: []].append("a revision below the one before")
      }
      state.lastRevision[id] = event.kv.modRevision
    }
    if answer.canceled, state.compacted.contains(id), !state.open.contains(id) {
      // etcd ends a watch that a compaction has ended once more when it is cancelled.
      state.compacted.remove(id)
    } else if answer.canceled {
      if answer.compactRevision > 0 { state.compacted.insert(id) }
      state.logs[id, default: []].append("canceled: \(bare.line)")
      state.open.remove(id)
      state.lastRevision[id] = nil
    } else if answer.events.isEmpty {
      state.progress.append(bare.line)
    }
  }

  // MARK: Looking

  var logs: [Int64: [String]] { state.withLock { $0.logs.filter { $0.key < ComparedKeys.firstProbe } } }
  var open: Set<Int64> { state.withLock { $0.open } }
  /// Ended by compactions. etcd keeps their ids until they are cancelled as well (docs/differences-from-etcd.md).
  var compacted: Set<Int64> { state.withLock { $0.compacted } }
  var createdCount: Int { state.withLock { $0.created.count } }
  var progressCount: Int { state.withLock { $0.progress.count } }
  var ended: String? { state.withLock { $0.ended } }

  func created(_ index: Int) -> String {
    state.withLock { index < $0.created.count ? $0.created[index] : "no answer (\($0.ended ?? "the stream is open"))" }
  }

  func progress(_ index: Int) -> String {
    state.withLock {
      index < $0.progress.count ? $0.progress[index] : "no answer (\($0.ended ?? "the stream is open"))"
    }
  }

  func hasEvents(_ id: Int64) -> Bool { state.withLock { $0.logs[id]?.isEmpty == false } }

  /// What was compared need not be compared again.
  func forgetLogs() { state.withLock { $0.logs = [:] } }
}
