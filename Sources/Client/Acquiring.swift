// Acquiring and releasing with a session, and looking at one scope.

import Protocol
import Wire

extension Session {
  /// Acquires one scope with this session, alone. Again by the same session, it is the same grant.
  /// - Parameter wait: how long to stand in line when it is held; zero tries once.
  /// - Throws: as `acquire` of a whole request.
  public func acquire(_ scope: String, wait: Duration = .zero) async throws(ClientError) -> Grant {
    var request = GrantRequest(scope)
    request.wait = wait
    return try await acquire(request)[0]
  }

  /// Acquires what a request names, all or none. A call whose outcome is unknown is made again, and finds its grant.
  /// - Returns: one grant for each scope, in their order.
  /// - Throws: `ClientError`: with code `held` when somebody else has a scope still, `unconfirmed` when a gateway's word was
  ///   missing (both with `refusal`), `sessionLost` when the session was over meanwhile, and `cancelled`.
  public func acquire(_ request: GrantRequest) async throws(ClientError) -> [Grant] {
    try await acquire(request, path: RPCPath.Authority.acquire)
  }

  /// Acquire or Campaign, which are one call under two names.
  func acquire(_ request: GrantRequest, path: String) async throws(ClientError) -> [Grant] {
    guard !request.scopes.isEmpty else { throw ClientError(.invalidArgument, "a request needs a scope") }
    do {
      return try await whileAlive { try await self.send(request, path) }
    } catch let error as ClientError {
      throw error
    } catch {
      throw ClientError(.cancelled, "acquiring \(request.label) was cancelled")
    }
  }

  /// What the cluster, or the way to it, may take beside the waiting.
  private static let patience = Duration.seconds(10)

  private func send(_ request: GrantRequest, _ path: String) async throws(ClientError) -> [Grant] {
    let beside = request.barrierPatience + Self.patience
    let response: Portcullis_V1_AcquireResponse
    do {
      response = try await portcullis.call(
        path, as: Portcullis_V1_AcquireResponse.self, isRepeatable: true, timeout: request.wait + beside
      ) { left in request.message(session: lease, wait: max(.zero, left - beside)) }
    } catch {
      throw ClientError(error, during: "acquiring \(request.label)")
    }
    switch response.outcome {
    case .granted(let grant):
      return ([grant] + response.alsoGranted).map { Grant($0, response.evidence) }
    case .refused(let refusal):
      throw ClientError(
        refusal.missing.isEmpty ? .held : .unconfirmed,
        "\(request.label) was not granted: \(refusal.reason); \(refusal.advice)",
        refusal: Refusal(refusal, response.evidence))
    case nil:
      throw ClientError(.failed, "the answer to acquiring \(request.label) says neither granted nor refused")
    }
  }

  /// Ends a grant of this session, and nobody else's: a newer grant is left alone.
  /// - Throws: `ClientError` with code `sessionLost` when the grant had ended before.
  public func release(_ grant: Grant) async throws(ClientError) {
    try await portcullis.release(grant, path: RPCPath.Authority.release)
  }
}

extension Portcullis {
  /// Release or Resign, which are one call under two names.
  func release(_ grant: Grant, path: String) async throws(ClientError) {
    var request = Portcullis_V1_ReleaseRequest()
    request.scope = grant.scope
    request.number = grant.number
    request.holderLease = grant.session
    let response: Portcullis_V1_ReleaseResponse
    do {
      response = try await call(path, request, as: Portcullis_V1_ReleaseResponse.self, isRepeatable: true)
    } catch {
      throw ClientError(error, during: "releasing \(grant.scope)")
    }
    if case .refused(let refusal) = response.outcome {
      throw ClientError(
        .sessionLost, "\(grant.scope) was not released: \(refusal.reason)",
        ending: .grant(reason: refusal.reason), refusal: Refusal(refusal, response.evidence))
    }
  }

  /// Who holds a scope and who waits for it, read linearizably.
  public func describe(_ scope: String) async throws(ClientError) -> ScopeDescription {
    var request = Portcullis_V1_DescribeRequest()
    request.scope = scope
    do {
      let response = try await call(
        RPCPath.Authority.describe, request, as: Portcullis_V1_DescribeResponse.self, isRepeatable: true)
      return ScopeDescription(response)
    } catch {
      throw ClientError(error, during: "describing \(scope)")
    }
  }

  /// The public keys that verify tokens of this cluster, as a JWKS (RFC 7517).
  public func keys() async throws(ClientError) -> String {
    do {
      return try await call(
        RPCPath.Authority.keys, Portcullis_V1_KeysRequest(), as: Portcullis_V1_KeysResponse.self, isRepeatable: true
      ).jwks
    } catch {
      throw ClientError(error, during: "fetching the public keys")
    }
  }
}

/// What is known of a scope at one revision.
public struct ScopeDescription: Sendable {
  /// The store's revision at which this was read.
  public let revision: Int64
  /// The id of the cluster that answered.
  public let cluster: UInt64
  /// Of that cluster.
  public let incarnation: UInt64
  /// The grant of the one that holds the scope alone, without its token; nil when nobody does.
  public let grant: Grant?
  /// The grants of those that share it.
  public let sharers: [Grant]
  /// The names of those who wait, first come first.
  public let waiting: [String]
  /// The newest number ever granted for the scope; 0 for none.
  public let lastNumber: Int64
  /// How long it stays closed behind a holder that was lost.
  public let closed: Duration

  init(_ response: Portcullis_V1_DescribeResponse) {
    revision = response.evidence.revision
    cluster = response.evidence.clusterID
    incarnation = response.evidence.incarnation
    grant = response.hasHolder ? Grant(response.holder, response.evidence) : nil
    sharers = response.sharers.map { Grant($0, response.evidence) }
    waiting = response.waiting.map(\.holder)
    lastNumber = response.lastNumber
    closed = .milliseconds(response.closedMs)
  }
}
