// A gateway in the same process: it registers and confirms as one elsewhere does, without a connection in between.
//
// What it proposes are the node's own commands. They are not lost when there is no leader for a while: whatever is not in
// the state after a second is proposed again.

import CoordinationCore
import Foundation

extension CoreNode {
  /// Registers a gateway for scopes and calls `raise` with the token of each raise that is to be made; the raise is confirmed
  /// when it returns true. Runs until the task is cancelled.
  package func protect(
    _ gateway: String, scopes: [String], raise: @escaping @Sendable (_ token: String) async -> Bool
  ) async throws {
    let name = Key(Bytes(gateway.utf8))
    let wanted = Set(scopes.map { Key(Bytes($0.utf8)) }).sorted()
    let (news, feed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let observer = access.holds.observeGateways { feed.yield() }
    access.gatewayCame(name)
    defer {
      access.gateways.went(name)
      access.holds.endObservingGateways(observer)
    }
    // Beside the news, a look a second: for what was proposed and got no place in the log.
    let clock = Task {
      while !Task.isCancelled {
        feed.yield()
        try await Task.sleep(for: .seconds(1))
      }
    }
    defer { clock.cancel() }
    var made: [Key: Revision] = [:]
    for await _ in news {
      let state = access.publication.snapshot.state
      guard let record = state.gateways[name], record.scopes == wanted else {
        access.propose(.gateway(.register(name, scopes: wanted)))
        continue
      }
      // The newest numbers once more where the gateway may have come back with an older copy of its files.
      let reminders = made.isEmpty ? Self.numbers(of: record, in: state) : []
      for (scope, number) in record.raises + reminders {
        if made[scope] != number {
          let holder = state.scopes[scope]?.foremost?.holder ?? GatewayService.nobody
          let text = String(decoding: scope.bytes, as: UTF8.self)
          guard await raise(try access.issuer.token(scope: text, number: number, holder: holder)) else { continue }
          made[scope] = number
        }
        if record.isUnconfirmed(scope) {
          access.propose(.gateway(.confirm(name, scope: scope, number: number)))
        }
      }
    }
  }

  private static func numbers(
    of record: GatewayRecord, in state: Coordination
  ) -> [(scope: Key, number: Revision)] {
    record.scopes.compactMap { scope in
      guard let number = state.scopes[scope]?.lastNumber, number > 0 else { return nil }
      return (scope, number)
    }
  }
}
