// Calls that no client library makes: a session that nobody renews but the scenario, a request that is made twice under one
// id.

import Client
import Protocol
import Wire

struct CoreCalls: Sendable {
  let client: Portcullis

  /// - Returns: the session's lease.
  func openSession(_ holder: String, milliseconds: Int64) async throws -> Int64 {
    var request = Portcullis_V1_OpenSessionRequest()
    request.holder = holder
    request.ttlMs = milliseconds
    return try await client.call(
      RPCPath.Sessions.open, request, as: Portcullis_V1_OpenSessionResponse.self, isRepeatable: false
    ).session.id
  }

  func closeSession(_ lease: Int64) async throws {
    var request = Portcullis_V1_CloseSessionRequest()
    request.id = lease
    _ = try await client.call(
      RPCPath.Sessions.close, request, as: Portcullis_V1_CloseSessionResponse.self, isRepeatable: true)
  }

  /// One request on a stream is on the wire what a call is.
  /// - Returns: whether the lease is alive.
  func renew(_ lease: Int64) async throws -> Bool {
    var request = Etcdserverpb_LeaseKeepAliveRequest()
    request.id = lease
    return try await client.call(
      RPCPath.Lease.leaseKeepAlive, request, as: Etcdserverpb_LeaseKeepAliveResponse.self, isRepeatable: true
    ).ttl > 0
  }

  enum Acquisition: Sendable {
    case granted(number: Int64, token: String)
    case refused(heldBy: Int64)
  }

  func acquire(
    _ scope: String, _ lease: Int64, requestID: String = "", waitMilliseconds: Int64 = 0
  ) async throws -> Acquisition {
    var request = Portcullis_V1_AcquireRequest()
    request.scope = scope
    request.lease = lease
    request.requestID = requestID
    request.waitMs = waitMilliseconds
    let response = try await client.call(
      RPCPath.Authority.acquire, request, as: Portcullis_V1_AcquireResponse.self, isRepeatable: !requestID.isEmpty,
      timeout: .seconds(60))
    switch response.outcome {
    case .granted(let grant): return .granted(number: grant.number, token: grant.token)
    case .refused(let refusal): return .refused(heldBy: refusal.heldBy.number)
    case nil: throw ConformanceError("an acquisition of \(scope) was answered with nothing")
    }
  }

  /// One that has to succeed for the scenario to go on.
  func mustAcquire(
    _ scope: String, _ lease: Int64, requestID: String = "", waitMilliseconds: Int64 = 0
  ) async throws -> (number: Int64, token: String) {
    let acquisition = try await acquire(scope, lease, requestID: requestID, waitMilliseconds: waitMilliseconds)
    guard case .granted(let number, let token) = acquisition else {
      throw ConformanceError("\(scope) should be granted and is refused: \(acquisition)")
    }
    return (number, token)
  }
}

/// Does it again for as long as nobody leads, or nobody is known to.
func whenLed<Result>(_ body: () async throws -> Result) async throws -> Result {
  while true {
    try Task.checkCancellation()
    do {
      return try await body()
    } catch let error as RPCStatus where error.code == .unavailable || error.code == .deadlineExceeded {
      continue
    } catch let error as ClientError where error.code == .unavailable {
      continue
    }
  }
}

extension CoreProcesses {
  /// The place of the node that leads.
  func leader() async throws -> Int {
    let members = ClusterMembers(endpoints: try Endpoint.list(parsing: endpoints))
    defer { members.close() }
    while true {
      try Task.checkCancellation()
      let name = try? await members.list().first(where: \.isLeader)?.name
      if let place = names.firstIndex(where: { $0 == name }) { return place }
    }
  }

  /// The endpoints of all but one, with commas.
  func endpoints(without place: Int) -> String {
    nodes.enumerated().filter { $0.offset != place }.map(\.element.address).joined(separator: ",")
  }
}
