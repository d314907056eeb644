// A gateway's side of the barrier, for a gateway that reaches its cluster over the network.

import Protocol
import Synchronization
import Wire

extension Portcullis {
  /// Registers a gateway for scopes and calls `raise` with the token of each raise that is to be made; the raise is confirmed
  /// when it returns true. One that cannot be made now (a key that is not known yet, a full disk) is tried again and again,
  /// for the node sends it once on a stream; other scopes do not wait for it.
  ///
  /// Runs until the connection to the node is over, a raise could not be made for half a minute, or the task is cancelled.
  package func protect(
    _ gateway: String, scopes: [String], raise: @escaping @Sendable (_ token: String) async -> Bool
  ) async throws {
    var first = Portcullis_V1_ProtectRequest()
    first.register.gateway = gateway
    first.register.scopes = scopes
    let stream = try await open(RPCPath.Gateways.protect, first, as: Portcullis_V1_ProtectResponse.self)
    let raising = Raising(call: stream.call, raise: raise)
    try await withThrowingTaskGroup(of: Void.self) { group in
      // Ends with the stream: what is still tried by then comes again on the next one.
      defer { group.cancelAll() }
      for try await response in stream.messages {
        guard case .raise(let asked) = response.message else { continue }
        if try await raising.make(asked) { continue }
        group.addTask { await raising.makeLater(asked) }
      }
    }
  }
}

/// The raises of one stream. Any task may use it.
private final class Raising: Sendable {
  private let call: ClientStream
  private let raise: @Sendable (_ token: String) async -> Bool
  /// By scope: a later raise takes an earlier one's place.
  private let newest = Mutex<[String: Int64]>([:])

  /// From the first pause between two attempts to the longest, and how many there are before a new token is asked for.
  private static let (shortestPause, longestPause) = (Duration.milliseconds(100), Duration.seconds(1))
  private static let attempts = 30

  init(call: ClientStream, raise: @escaping @Sendable (_ token: String) async -> Bool) {
    self.call = call
    self.raise = raise
  }

  /// Answers whether it was made, and confirms it then.
  func make(_ asked: Portcullis_V1_Raise) async throws -> Bool {
    newest.withLock { $0[asked.scope] = asked.number }
    return try await attempt(asked)
  }

  /// Until it was made, a later one has its place, or the task is cancelled. Ends the stream where it cannot be made for long:
  /// its token does not live for ever.
  func makeLater(_ asked: Portcullis_V1_Raise) async {
    var pause = Self.shortestPause
    for _ in 0..<Self.attempts {
      // The pace of trying: what is in the way tells nobody when it is gone.
      guard (try? await Task.sleep(for: pause)) != nil else { return }
      guard newest.withLock({ $0[asked.scope] }) == asked.number else { return }
      if (try? await attempt(asked)) != false { return }
      pause = min(pause * 2, Self.longestPause)
    }
    call.cancel()
  }

  private func attempt(_ asked: Portcullis_V1_Raise) async throws -> Bool {
    guard await raise(asked.token) else { return false }
    var answer = Portcullis_V1_ProtectRequest()
    answer.confirmed.scope = asked.scope
    answer.confirmed.number = asked.number
    try call.send(answer)
    return true
  }
}
