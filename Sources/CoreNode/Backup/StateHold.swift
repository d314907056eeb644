// States that are kept for callers while they are sent to them: a bound on how many, on how long, and on how long nothing
// may be taken of one.
//
// A held state costs what was changed since, for what it shares with the newest one is there anyway. A caller that takes
// nothing would make that grow for ever.

import NIOConcurrencyHelpers
import NIOCore
import Wire

/// How many there are on this node.
final class StateHolds: Sendable {
  private let count = NIOLockedValueBox(0)

  fileprivate func take(atMost limit: Int) -> Bool {
    count.withLockedValue { count in
      guard count < limit else { return false }
      count += 1
      return true
    }
  }

  fileprivate func giveBack() { count.withLockedValue { $0 -= 1 } }
}

/// One of them. `@unchecked Sendable`: used on its call's event loop alone.
final class StateHold: @unchecked Sendable {
  private let holds: StateHolds
  private let eventLoop: any EventLoop
  private let stall: TimeAmount
  private let end: NIODeadline
  private let onTimeout: (RPCStatus) -> Void
  private var lastTaken = NIODeadline.now()
  private var timer: Scheduled<Void>?
  private var isOver = false

  /// Nil when there are as many as there may be.
  /// - Parameter onTimeout: called at most once, on the event loop, when the state must be let go of.
  init?(_ core: CoreAccess, on eventLoop: any EventLoop, onTimeout: @escaping (RPCStatus) -> Void) {
    let limits = core.configuration.limits
    guard core.heldStates.take(atMost: limits.maxStateHolds) else { return nil }
    holds = core.heldStates
    self.eventLoop = eventLoop
    stall = .milliseconds(limits.stateHoldStallMilliseconds)
    end = .now() + .milliseconds(limits.maxStateHoldMilliseconds)
    self.onTimeout = onTimeout
    watch()
  }

  /// Something was sent, which happens only when the caller has taken what was sent before.
  func moved() { lastTaken = .now() }

  func release() {
    guard !isOver else { return }
    isOver = true
    timer?.cancel()
    timer = nil
    holds.giveBack()
  }

  private func watch() {
    let due = min(lastTaken + stall, end)
    timer = eventLoop.assumeIsolated().scheduleTask(deadline: due) { self.look() }
  }

  private func look() {
    guard !isOver else { return }
    let now = NIODeadline.now()
    if now >= end { return giveUp("it was not taken in time; ask for a smaller part") }
    if now >= lastTaken + stall {
      return giveUp("nothing was taken for \(stall.nanoseconds / 1_000_000_000) seconds")
    }
    watch()
  }

  private func giveUp(_ reason: String) {
    release()
    onTimeout(RPCStatus(.deadlineExceeded, "the state that was being sent is no longer kept: \(reason)"))
  }

  static func tooMany(_ core: CoreAccess) -> RPCStatus {
    RPCStatus(
      .resourceExhausted,
      "this node is sending \(core.configuration.limits.maxStateHolds) states and lists already: try again later, or"
        + " another node")
  }
}
