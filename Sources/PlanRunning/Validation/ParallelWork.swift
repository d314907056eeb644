// Owns the running of long computations on threads of their own, one for each processor.
//
// They must never run on the cooperative pool: it has no more threads than there are processors, and whatever else is under way
// would wait for seconds.

import Foundation
import Synchronization

/// Numbers from 0 up, each computed once, by whichever thread comes first.
final class ParallelWork<Value: Sendable>: Sendable {
  private struct State: Sendable {
    var next = 0
    var threads: Int
    var isCancelled = false
    var values: [Value?]
  }

  private let state: Mutex<State>
  private let count: Int
  private let compute: @Sendable (Int) -> Value

  private init(count: Int, threads: Int, compute: @escaping @Sendable (Int) -> Value) {
    state = Mutex(State(threads: threads, values: Array(repeating: nil, count: count)))
    (self.count, self.compute) = (count, compute)
  }

  /// - Returns: the values in the order of their numbers.
  /// - Throws: `CancellationError` where its task was cancelled; what is being computed is done first.
  static func values(count: Int, compute: @escaping @Sendable (Int) -> Value) async throws -> [Value] {
    try Task.checkCancellation()
    let threads = max(1, min(count, ProcessInfo.processInfo.activeProcessorCount))
    let work = ParallelWork(count: count, threads: threads, compute: compute)
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        for _ in 0..<threads {
          Thread.detachNewThread { if work.runUntilNoneIsLeft() { continuation.resume() } }
        }
      }
    } onCancel: {
      work.state.withLock { $0.isCancelled = true }
    }
    try Task.checkCancellation()
    return work.state.withLock { $0.values.compactMap { $0 } }
  }

  /// - Returns: whether this was the last thread to end.
  private func runUntilNoneIsLeft() -> Bool {
    while let number = takeNext() {
      let value = compute(number)
      state.withLock { $0.values[number] = value }
    }
    return state.withLock { state in
      state.threads -= 1
      return state.threads == 0
    }
  }

  private func takeNext() -> Int? {
    state.withLock { state in
      guard !state.isCancelled, state.next < count else { return nil }
      state.next += 1
      return state.next - 1
    }
  }
}
