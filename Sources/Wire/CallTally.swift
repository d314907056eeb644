// Owns the counts of one method's calls, and of the bytes of all calls: what monitoring asks of a gRPC server.
// Must never: cost a call more than a few additions. They are atomic, since calls of a method run on several event loops.

import NIOConcurrencyHelpers
import Synchronization

package final class CallTally: Sendable {
  private let startedCount = Synchronization.Atomic<UInt64>(0)
  private let succeededCount = Synchronization.Atomic<UInt64>(0)
  private let failedCounts = NIOLockedValueBox<[RPCCode: UInt64]>([:])

  package init() {}

  func started() { self.startedCount.add(1, ordering: .relaxed) }

  func handled(_ code: RPCCode) {
    if code == .ok {
      self.succeededCount.add(1, ordering: .relaxed)
    } else {
      self.failedCounts.withLockedValue { $0[code, default: 0] += 1 }
    }
  }

  package var startedTotal: UInt64 { self.startedCount.load(ordering: .relaxed) }

  /// How many ended with each code: OK first, the others by number.
  package var handledTotals: [(code: RPCCode, count: UInt64)] {
    let failed = self.failedCounts.withLockedValue { $0 }.sorted { $0.key.rawValue < $1.key.rawValue }
    return [(.ok, self.succeededCount.load(ordering: .relaxed))] + failed.map { ($0.key, $0.value) }
  }

  /// The same method, with its calls counted here.
  package func counting(_ method: RPCMethod) -> RPCMethod {
    switch method {
    case .unary(let handler):
      .unary { call, body in
        call.count(in: self)
        handler(call, body)
      }
    case .streaming(let make):
      .streaming { call in
        call.count(in: self)
        return make(call)
      }
    }
  }
}

/// Bytes of calls' messages, both ways, over all connections of one or more servers.
package final class WireTraffic: Sendable {
  private let received = Synchronization.Atomic<UInt64>(0)
  private let sent = Synchronization.Atomic<UInt64>(0)

  package init() {}

  package var receivedBytes: UInt64 { self.received.load(ordering: .relaxed) }
  package var sentBytes: UInt64 { self.sent.load(ordering: .relaxed) }

  func add(received: Int, sent: Int) {
    if received > 0 { self.received.add(UInt64(received), ordering: .relaxed) }
    if sent > 0 { self.sent.add(UInt64(sent), ordering: .relaxed) }
  }
}
