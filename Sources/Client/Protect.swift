// A gateway's side of the barrier, for a gateway that reaches its cluster over the network.

import Protocol
import Wire

extension Portcullis {
  /// Registers a gateway for scopes and calls `raise` with the token of each raise that is to be made, one after another;
  /// the raise is confirmed when it returns true.
  ///
  /// Runs until the connection to the node is over, or the task is cancelled.
  package func protect(
    _ gateway: String, scopes: [String], raise: @escaping @Sendable (_ token: String) async -> Bool
  ) async throws {
    var first = Portcullis_V1_ProtectRequest()
    first.register.gateway = gateway
    first.register.scopes = scopes
    let stream = try await open(RPCPath.Gateways.protect, first, as: Portcullis_V1_ProtectResponse.self)
    for try await response in stream.messages {
      guard case .raise(let asked) = response.message, await raise(asked.token) else { continue }
      var answer = Portcullis_V1_ProtectRequest()
      answer.confirmed.scope = asked.scope
      answer.confirmed.number = asked.number
      try stream.call.send(answer)
    }
  }
}
