// Signals as events: Ctrl-C and SIGTERM end a command in order.

import Dispatch
import Glibc
import Synchronization

/// Takes over signals: their default action is off for as long as the process lives.
package final class Signals: Sendable {
  private struct State {
    /// In the order of their arrival.
    var arrived: [Int32] = []
    var nextWaiter = 0
    var waiters: [Int: (count: Int, continuation: CheckedContinuation<Int32?, Never>)] = [:]
  }

  private let state = Mutex(State())
  private let sources: [Source]

  /// `@unchecked Sendable`: a dispatch source may be used from any thread; Dispatch does not say so in its types.
  private struct Source: @unchecked Sendable {
    let signal: any DispatchSourceSignal
  }

  package init(_ numbers: [Int32] = [SIGINT, SIGTERM]) {
    sources = numbers.map { Source(signal: DispatchSource.makeSignalSource(signal: $0, queue: .global())) }
    for (number, source) in zip(numbers, sources) {
      signal(number, SIG_IGN)
      source.signal.setEventHandler { [weak self] in self?.arrive(number) }
      source.signal.resume()
    }
  }

  deinit {
    for source in sources { source.signal.cancel() }
  }

  /// Returns with the first signal that ever arrived, or nil when the task is cancelled before one does.
  package func first() async -> Int32? { await arrival(1) }

  /// Likewise, with the second: whoever sends another does not want to wait.
  package func second() async -> Int32? { await arrival(2) }

  private func arrival(_ count: Int) async -> Int32? {
    let waiter = state.withLock { state -> Int in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let known = state.withLock { state -> Int32?? in
          if state.arrived.count >= count { return state.arrived[count - 1] }
          if Task.isCancelled { return .some(nil) }
          state.waiters[waiter] = (count, continuation)
          return nil
        }
        if let known { continuation.resume(returning: known) }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: waiter) }?.continuation.resume(returning: nil)
    }
  }

  private func arrive(_ number: Int32) {
    let waiting = state.withLock { state -> [CheckedContinuation<Int32?, Never>] in
      state.arrived.append(number)
      let ready = state.waiters.filter { $0.value.count <= state.arrived.count }
      for waiter in ready.keys { state.waiters[waiter] = nil }
      return ready.values.map(\.continuation)
    }
    for waiter in waiting { waiter.resume(returning: number) }
  }
}
