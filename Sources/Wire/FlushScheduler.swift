// Collects the connections of one event loop that have something to flush, and flushes them in one task at the end of
// the turn. Handing five hundred replies to a loop so costs one task and one write for each connection concerned.

import NIOCore

protocol Flushable: AnyObject {
  func flushNow()
}

/// `@unchecked Sendable` holds because, after `init`, everything but the immutable `eventLoop` is touched on that event
/// loop only, which `add` asserts.
final class FlushScheduler: @unchecked Sendable {
  let eventLoop: any EventLoop
  private var waiting: [any Flushable] = []
  private var isScheduled = false

  init(eventLoop: any EventLoop) {
    self.eventLoop = eventLoop
  }

  /// Adds a connection; it must not be added again before its `flushNow` ran.
  func add(_ connection: any Flushable) {
    self.eventLoop.assertInEventLoop()
    self.waiting.append(connection)
    guard !self.isScheduled else { return }
    self.isScheduled = true
    self.eventLoop.execute { self.run() }
  }

  private func run() {
    self.isScheduled = false
    var connections: [any Flushable] = []
    swap(&connections, &self.waiting)
    for connection in connections {
      connection.flushNow()
    }
    // Keeps the array's memory, unless a flush already began the next round.
    if self.waiting.isEmpty {
      connections.removeAll(keepingCapacity: true)
      self.waiting = connections
    }
  }
}
