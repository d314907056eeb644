// Everything that is held, waited for or registered, in lists for people and programs.

import Protocol
import SwiftProtobuf
import Wire

/// One scope, in a list.
public struct ScopeSummary: Sendable {
  /// Its name.
  public let scope: String
  /// The grant of the one that holds it alone, without its token; nil where nobody does.
  public let holder: Grant?
  /// The newest number ever granted for it; 0 for none.
  public let lastNumber: Int64
  /// How many stand in line.
  public let waiting: Int64
  /// How many share it.
  public let sharers: Int64
  /// How long it stays closed behind a holder that was lost.
  public let closed: Duration
}

/// One session, in a list.
public struct SessionSummary: Sendable {
  /// It can be named wherever a lease can.
  public let id: Int64
  /// Whose it is.
  public let holder: String
  /// What was granted.
  public let timeToLive: Duration
  /// Until it ends, unless it is renewed.
  public let timeLeft: Duration
  /// How many scopes it holds.
  public let grants: Int64
  /// For how many it stands in line.
  public let waits: Int64
}

/// One gateway that has registered.
public struct GatewaySummary: Sendable {
  /// Its name.
  public let gateway: String
  /// What it protects.
  public let scopes: [String]
  /// Whether it protects through the node that answered.
  public let isConnected: Bool
  /// Raises that it has yet to confirm.
  public let unconfirmed: Int64
  /// By whom it was deregistered, and why; nil for one that was not.
  public let deregistration: (by: String, reason: String)?
}

extension Portcullis {
  /// All scopes that begin with a text, by name, read linearizably, a page at a time.
  /// - Parameter inUse: only those that somebody holds or waits for.
  public func scopes(prefix: String = "", inUse: Bool = false) async throws(ClientError) -> [ScopeSummary] {
    var request = Portcullis_V1_ScopesRequest()
    request.prefix = prefix
    request.inUse = inUse
    var found: [ScopeSummary] = []
    repeat {
      let page = try await look(
        RPCPath.Authority.scopes, request, Portcullis_V1_ScopesResponse.self, "listing scopes")
      found += page.scopes.map { scope in
        ScopeSummary(
          scope: scope.scope, holder: scope.hasHolder ? Grant(scope.holder, page.evidence) : nil,
          lastNumber: scope.lastNumber, waiting: scope.waiting, sharers: scope.sharers,
          closed: .milliseconds(scope.closedMs))
      }
      request.from = page.next
    } while !request.from.isEmpty
    return found
  }

  /// All sessions, by id, read linearizably, a page at a time.
  public func sessions() async throws(ClientError) -> [SessionSummary] {
    var request = Portcullis_V1_ListSessionsRequest()
    var found: [SessionSummary] = []
    repeat {
      let page = try await look(
        RPCPath.Sessions.list, request, Portcullis_V1_ListSessionsResponse.self, "listing sessions")
      found += page.sessions.map(SessionSummary.init)
      request.from = page.next
    } while request.from != 0
    return found
  }

  /// One session, with what it holds and what it waits for; nil when there is none (any more).
  public func session(
    _ id: Int64
  ) async throws(ClientError) -> (session: SessionSummary, grants: [Grant], waitingFor: [String])? {
    var request = Portcullis_V1_DescribeSessionRequest()
    request.id = id
    let response = try await look(
      RPCPath.Sessions.describe, request, Portcullis_V1_DescribeSessionResponse.self, "describing session \(id)")
    guard response.hasSession else { return nil }
    return (
      SessionSummary(response.session), response.grants.map { Grant($0, response.evidence) }, response.waitingFor
    )
  }

  /// All gateways that ever registered.
  public func gateways() async throws(ClientError) -> [GatewaySummary] {
    let response = try await look(
      RPCPath.Gateways.list, Portcullis_V1_ListGatewaysRequest(), Portcullis_V1_ListGatewaysResponse.self,
      "listing gateways")
    return response.gateways.map { gateway in
      GatewaySummary(
        gateway: gateway.gateway, scopes: gateway.scopes, isConnected: gateway.isConnected,
        unconfirmed: gateway.unconfirmed,
        deregistration: gateway.isDeregistered ? (gateway.deregisteredBy, gateway.reason) : nil)
    }
  }

  /// Says that a gateway is gone for good, so that no grant waits for it any more. It stays on record.
  /// - Parameter reason: why it is known that it takes no more writes.
  /// - Returns: whether there was one of that name.
  public func deregister(gateway: String, reason: String) async throws(ClientError) -> Bool {
    var request = Portcullis_V1_DeregisterGatewayRequest()
    request.gateway = gateway
    request.reason = reason
    return try await look(
      RPCPath.Gateways.deregister, request, Portcullis_V1_DeregisterGatewayResponse.self, "deregistering \(gateway)"
    ).wasRegistered
  }

  private func look<Request: Message, Response: Message & Sendable>(
    _ path: String, _ request: Request, _ type: Response.Type, _ what: String
  ) async throws(ClientError) -> Response {
    do {
      return try await call(path, request, as: type, isRepeatable: true)
    } catch {
      throw ClientError(error, during: what)
    }
  }
}

extension SessionSummary {
  init(_ session: Portcullis_V1_Session) {
    id = session.id
    holder = session.holder
    timeToLive = .milliseconds(session.ttlMs)
    timeLeft = .milliseconds(session.timeLeftMs)
    grants = session.grants
    waits = session.waits
  }
}
