// Brings what a writer's thread has to say to an event loop, with one wake-up for all that one commit answers there.
//
// Invariant: whenever something lies in it, a drain is on its way to the loop or under way.

import NIOCore
import Synchronization

final class LoopInbox: Sendable {
  private struct Content {
    var calls: [@Sendable () -> Void] = []
    var isDraining = false
  }

  let eventLoop: any EventLoop
  private let content = Mutex(Content())

  private init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  /// The inboxes of a server's loops, one for each.
  final class All: Sendable {
    private let inboxes = Mutex([ObjectIdentifier: LoopInbox]())

    func inbox(of eventLoop: any EventLoop) -> LoopInbox {
      inboxes.withLock { inboxes in
        let inbox = inboxes[ObjectIdentifier(eventLoop)] ?? LoopInbox(eventLoop)
        inboxes[ObjectIdentifier(eventLoop)] = inbox
        return inbox
      }
    }
  }

  /// From any thread: `call` runs on the loop, after those that came before.
  func add(_ call: @escaping @Sendable () -> Void) {
    let isFirst = content.withLock { content in
      content.calls.append(call)
      defer { content.isDraining = true }
      return !content.isDraining
    }
    if isFirst { eventLoop.execute { self.drain() } }
  }

  private func drain() {
    var calls: [@Sendable () -> Void] = []
    content.withLock { content in
      content.isDraining = false
      swap(&calls, &content.calls)
    }
    for call in calls { call() }
  }
}
